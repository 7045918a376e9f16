"""What a comparison leaves to look at: a table, plots, clips."""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from .picture import shown

PANELS = {
    "legal": "legal chunks",
    "hue_spread": "spread of hue / true",
    "shape_tv": "shapes: total variation",
    "moves_tv": "moves: total variation",
    "rarest": "rarest move / its odds",
    "motion": "motion / true",
    "mood_accuracy": "mood as told",
    "fixed_cf": "characteristic functions",
}

_BLIND = ("sliced", "fixed_cf", "learned_cf")
_EXACT = ("moves_tv", "shape_tv")
_FEWEST_TO_RANK = 3
_SCALE, _MARGIN = 3, 170

Summary = dict[str, dict[str, tuple[float, float]]]


def write_table(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """A CSV file with a column for whatever any row has."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.5g}" if isinstance(v, float) else v for k, v in row.items()})


def summary(rows: Sequence[dict[str, Any]]) -> Summary:
    """Mean and spread over `seeds` of each measure, by method, steps and length."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(label_of(row), []).append(row)
    return {
        label: {
            name: (
                statistics.fmean(row[name] for row in group),
                statistics.stdev(row[name] for row in group) if len(group) > 1 else 0.0,
            )
            for name in PANELS
        }
        | {"seeds": (float(len(group)), 0.0)}
        for label, group in groups.items()
    }


def label_of(row: Mapping[str, Any]) -> str:
    """Whose row it is: method, guidance, window, steps, length."""
    guided = f" w {row['guidance']:g}" if row.get("guidance", 1.0) != 1 else ""
    window = f" {row['window']}" if row.get("window") else ""
    length = f", {row['times']}x" if row["times"] > 1 else ""
    return f"{row['method']}{guided}{window}, {row['steps']}{length}"


def tracking(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """How well distances that know nothing of the world rank students as the exact errors do.

    Spearman's rank correlation, over all students, with the total variation of moves and of shapes
    and their sum.
    """
    names = (*_BLIND, *_EXACT)
    # a student that was lost has distances that are no numbers
    known = [row for row in rows if all(math.isfinite(row.get(name, math.nan)) for name in names)]
    if len(known) < _FEWEST_TO_RANK:
        return []
    exact = {name: [row[name] for row in known] for name in _EXACT}
    exact["sum"] = [sum(row[name] for name in _EXACT) for row in known]
    return [
        {"distance": blind, "students": len(known)}
        | {name: rank_correlation([row[blind] for row in known], e) for name, e in exact.items()}
        for blind in _BLIND
    ]


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Spearman's, -1 to 1; of equal values the first is held the smaller."""
    ranks = [torch.tensor(values).argsort(stable=True).argsort().float() for values in (one, other)]
    return float(torch.corrcoef(torch.stack(ranks))[0, 1])


def write_plots(path: Path, found: Summary, floor: Mapping[str, tuple[float, float]]) -> None:
    """A panel for each of `PANELS`, a row for each method; the line is what the truth gets."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    labels = list(found)[::-1]
    size = (2.2 * len(PANELS) + 2, 0.22 * len(labels) + 1.2)
    figure, axes = pyplot.subplots(1, len(PANELS), figsize=size, sharey=True)
    for axis, (name, title) in zip(axes, PANELS.items(), strict=True):
        values = [found[label][name] for label in labels]
        means, spreads = zip(*values, strict=True)
        axis.errorbar(means, range(len(labels)), xerr=spreads, fmt="o", markersize=3)
        axis.axvline(floor[name][0], color="grey", linewidth=0.8)
        axis.set_title(title, fontsize=8)
        axis.tick_params(labelsize=7)
    axes[0].set_yticks(range(len(labels)), labels)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def write_clips(path: Path, folder: Path) -> None:
    """A clip of each student that left some in `folder`, picture after picture beside its name.

    It is the second one, of a brisk mood.
    """
    from PIL import Image, ImageDraw

    files = sorted(folder.glob("*-1x.clips.pt"))
    if not files:
        return
    strips = []
    for file in files:
        clip = shown(torch.load(file, weights_only=True)[1:2].float())[0]
        strips.append(torch.cat(list(clip), 2))
    row, width = (_SCALE * size for size in strips[0].shape[1:])
    sheet = Image.new("RGB", (_MARGIN + width, row * len(files)))
    names = ImageDraw.Draw(sheet)
    for k, (file, strip) in enumerate(zip(files, strips, strict=True)):
        pixels = (strip.permute(1, 2, 0) * 255).round().byte().numpy()
        picture = Image.fromarray(pixels).resize((width, row), Image.Resampling.NEAREST)
        sheet.paste(picture, (_MARGIN, k * row))
        name = file.name.removesuffix("-1x.clips.pt")
        names.text((6, k * row + row // 3), f"{name} steps".replace("-", " "), fill="white")
    sheet.save(path)
