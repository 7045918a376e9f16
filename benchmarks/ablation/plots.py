"""The ablation's plots: what time does to each sink, and bars of steps and windows."""

from __future__ import annotations

from pathlib import Path

from ...models.pocket.evaluation.chart import Bars, Line, Lines, draw
from .figures import Figures, Report, sink_name, time_name
from .variants import CLEAN, LONG, STEPPED, TAUGHT, WINDOWED, Variant

# of the curve's points: speech is met in all its parts by so many
_SMOOTHED = 25
_RATIOS = {
    "lip_sync": "lip-sync",
    "mouth_amplitude": "opening",
    "dynamics": "motion",
    "sharpness": "detail",
    "mouth_sharpness": "in the mouth",
}


def plot(report: Report, folder: Path) -> list[Path]:
    """Write all plots. Raises ValueError while streams are missing."""
    figures = Figures(report)
    wanted = {
        "ablation-drift.svg": _drift(figures),
        "ablation-steps.svg": _bars(
            figures, {_steps_name(v): v for v in STEPPED}, figures.looks, "steps"
        ),
        "ablation-windows.svg": _bars(
            figures,
            {f"{v.window} chunks": v for v in WINDOWED if v.sink == TAUGHT.sink},
            [figures.first],
            "window",
        ),
    }
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, text in wanted.items():
        paths.append(folder / name)
        paths[-1].write_text(text, encoding="utf-8")
    return paths


def _drift(figures: Figures) -> str:
    panels = []
    for key, title in (
        ("identity", "distance from oneself / to the next person"),
        ("dynamics", "motion / rendered motion"),
        ("from_taught", "latents, difference from taught"),
    ):
        lines = []
        for variant in LONG:
            curve = _stream(figures, variant)["curve"]
            if key not in curve:
                continue
            minutes = [s / 60 for s in curve["s"]]
            name = "one cache and a clean pass" if variant == CLEAN else sink_name(variant)
            lines.append(Line(name, tuple(_smooth(minutes, curve[key]))))
        panels.append(Lines(title, "minutes", tuple(lines)))
    return draw([panel for panel in panels if panel.lines], columns=3)


def _smooth(x: list[float], y: list[float]) -> list[tuple[float, float]]:
    """Running means of both; a short curve as it is."""
    if len(x) <= 2 * _SMOOTHED:
        return list(zip(x, y, strict=True))
    return [
        (sum(x[k : k + _SMOOTHED]) / _SMOOTHED, sum(y[k : k + _SMOOTHED]) / _SMOOTHED)
        for k in range(len(x) - _SMOOTHED + 1)
    ]


def _bars(figures: Figures, variants: dict[str, Variant], looks: list[str], what: str) -> str:
    for variant in variants.values():
        _stream(figures, variant)
    mark = figures.short_mark
    groups = [
        (label, tuple(figures.mean(v, name, mark, looks) for v in variants.values()))
        for name, label in _RATIOS.items()
    ]
    title = f"by {what}, after {time_name(mark)}; 1 is as rendered"
    cost = tuple(figures.cost_ms(v, looks) for v in variants.values())
    names = tuple(variants)
    return draw(
        [
            Bars(title, names, tuple(groups)),
            Bars("processor time of the student, ms a chunk", names, (("", cost),)),
        ]
    )


def _stream(figures: Figures, variant: Variant):
    stream = figures.stream(variant, figures.first)
    if stream is None:
        raise ValueError(f"{variant.key} of {figures.first} is not measured yet")
    return stream


def _steps_name(variant: Variant) -> str:
    return f"{variant.steps} step" + ("s" if variant.steps > 1 else "")
