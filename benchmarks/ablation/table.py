"""The ablation's tables in Markdown, and where they stand in a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .figures import Figures, Report, sink_name, time_name
from .variants import BROAD, LONG, SERVED, TAUGHT, WINDOWED, Variant

BEGIN, END = "<!-- ablation:begin -->", "<!-- ablation:end -->"
_COLUMNS = {
    "identity": "identity",
    "dynamics": "motion",
    "sharpness": "detail",
    "mouth_sharpness": "in the mouth",
    "lip_sync": "lip-sync",
    "mouth_amplitude": "opening",
    "from_taught": "from taught",
}
_OVER_TIME = ("identity", "dynamics", "mouth_sharpness", "lip_sync", "latent_shift", "from_taught")
_MISSING = "–"
# shown under the tables where the page has them in its folder `images`
PICTURES = {
    "ablation-drift.svg": "Identity and motion as time goes by, for each sink",
    "ablation-steps.svg": "One, two and four steps",
    "ablation-windows.svg": "Windows of two, five and eight chunks",
    "ablation-sinks.webp": "The end of the stream without a sink, with a static and an EMA sink",
    "ablation-steps.webp": "The same words in one, two and four steps",
    "ablation-caches.webp": "A cache for each step, and one cache with a clean pass",
}


def write_tables(report: Report, page: Path) -> None:
    """Put the tables between the page's markers, and the pictures that there are.

    Raises ValueError when the page has none, FileNotFoundError when there is no page.
    """
    text = page.read_text(encoding="utf-8")
    before, begun, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not begun or not ended:
        raise ValueError(f"{page.name} has no place for tables: {BEGIN} and {END}")
    shown = [
        f"![{what}](images/{name})\n\n"
        for name, what in PICTURES.items()
        if (page.parent / "images" / name).exists()
    ]
    made = f"\n{tables(report)}{''.join(shown)}"
    page.write_text(f"{before}{BEGIN}\n{made}{END}{after}", encoding="utf-8")


def tables(report: Report) -> str:
    """All tables, with what they were measured on."""
    figures = Figures(report)
    return "\n\n".join(
        (
            f"Weights `{report['weights']}`, {report['device']}, torch {report['torch']}, "
            f"{report['threads']} thread{'s' if report['threads'] > 1 else ''}.",
            _over_time(figures),
            _crossed(figures),
            _broad(figures),
            "",
        )
    )


def _over_time(figures: Figures) -> str:
    marks = figures.marks(TAUGHT)
    when = " / ".join(time_name(mark) for mark in marks)
    heads = {**_COLUMNS, "latent_shift": "latents moved"}
    rows = []
    for variant in LONG:
        cells = [
            " / ".join(_cell(figures.at(variant, name, mark, figures.first)) for mark in marks)
            for name in _OVER_TIME
        ]
        rows.append([_name(variant), *cells])
    title = f"**What time does.** `{figures.first}` at {when}:"
    return f"{title}\n\n" + _grid(["cache", *(heads[name] for name in _OVER_TIME)], rows)


def _crossed(figures: Figures) -> str:
    mark = figures.short_mark
    title = f"**Sinks and windows.** `{figures.first}` after {time_name(mark)}:"
    rows = [
        [sink_name(v), f"{v.window} chunks", *_row(figures, v, mark, [figures.first])]
        for v in WINDOWED
    ]
    return f"{title}\n\n" + _grid(["sink", "window", *_COLUMNS.values(), "ms"], rows)


def _broad(figures: Figures) -> str:
    mark, looks = figures.short_mark, figures.looks
    shown = ", ".join(f"`{look}`" for look in looks)
    title = f"**Steps and kinds of cache.** Means over {shown} after {time_name(mark)}:"
    rows = [[_name(v), f"{v.steps}", *_row(figures, v, mark, looks)] for v in dict.fromkeys(BROAD)]
    return f"{title}\n\n" + _grid(["cache", "steps", *_COLUMNS.values(), "ms"], rows)


def _row(figures: Figures, variant: Variant, mark: str, looks: Sequence[str]) -> list[str]:
    cells = [_cell(figures.mean(variant, name, mark, looks)) for name in _COLUMNS]
    cost = figures.cost_ms(variant, looks)
    return [*cells, _MISSING if cost is None else f"{cost:.0f}"]


def _name(variant: Variant) -> str:
    if variant.clean_pass:
        return "static sink, one cache and a clean pass"
    marked = {TAUGHT: " (as taught)", SERVED: " (as served)"}.get(variant, "")
    return f"{sink_name(variant)}{marked}"


def _cell(value: float | None) -> str:
    """Two digits behind the point, or as many as a small value needs."""
    if not value:
        return _MISSING if value is None else "0"
    text = f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def _grid(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
