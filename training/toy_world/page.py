"""The comparison's tables for people, and the page of the documentation that has them.

A table stands between `<!-- table NAME -->` and `<!-- end of NAME -->`; what is between is written
anew, the words around it stay.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .claims import CLAIMS, verdicts
from .methods import TAUGHT_WITH
from .table import PANELS, Summary, label_of, tracking

Row = Mapping[str, Any]
_SINK = {
    "hue_drift": "drift of hue",
    "copying": "copying",
    "shape_kept": "shape kept",
    "legal": "legal",
    "motion": "motion",
    "hue_spread": "spread of hue",
    "mood_accuracy": "mood as told",
}
_SITE = {
    "legal": "legal",
    "moves_tv": "moves: total variation",
    "mood_accuracy": "mood as told",
    "membership": "membership",
    "nearness": "nearness",
}
_COST = {
    "updates": "updates",
    "seconds": "seconds",
    "chunk_ms": "ms a chunk",
    "gap": "gap",
    "cosine": "cosine",
}
_COST_DIGITS = {"updates": 0, "seconds": 0}
_LONG = 10


def tables(
    rows: Sequence[Row],
    found: Summary,
    sinks: Sequence[Row],
    sites: Sequence[Row],
    floor: Mapping[str, tuple[float, float]],
) -> dict[str, str]:
    """All tables as Markdown by name, of rows of students and those of `sinks` and `sites`."""
    return {
        "claims": claims_table(rows, floor),
        "students": students_table(found),
        "cost": cost_table(rows),
        "sinks": sinks_table(rows, sinks),
        "sites": _grouped("way", sites, lambda row: str(row["way"]), _SITE),
        "tracking": tracking_table(rows),
    }


def write_page(path: Path, made: Mapping[str, str]) -> None:
    """Put tables between their marks.

    Raises ValueError for a page without any, and for a mark that begins and does not end.
    """
    text, found = path.read_text(), False
    for name, table in made.items():
        begin, end = f"<!-- table {name} -->", f"<!-- end of {name} -->"
        if begin not in text:
            continue
        if end not in text:
            raise ValueError(f"{path}: {begin!r} has no {end!r} behind it")
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        text = pattern.sub(lambda _, t=table, b=begin, e=end: f"{b}\n\n{t}\n{e}", text)
        found = True
    if not found:
        names = ", ".join(made)
        raise ValueError(f"{path} has no '<!-- table NAME -->'; NAME is one of {names}")
    path.write_text(text)


def claims_table(rows: Sequence[Row], floor: Mapping[str, tuple[float, float]]) -> str:
    """A line for each claim that has been tried."""
    names = ["claim", "who", "than whom", "measure", "difference ± spread", "seeds", "reproduced"]
    lines = [
        [
            verdict.claim.says,
            str(verdict.claim.who),
            str(verdict.claim.than),
            f"{verdict.claim.way} `{verdict.claim.measure}`",
            f"{verdict.difference:+.2f} ± {verdict.spread:.2f}",
            str(verdict.seeds),
            verdict.reproduced,
        ]
        for verdict in verdicts(rows, floor, CLAIMS)
    ]
    return markdown(names, lines)


def students_table(found: Summary) -> str:
    """A student sampled as long as its training a line; the last column is of long clips."""
    lines = []
    for label, values in found.items():
        if label.endswith("x"):
            continue
        long = [more["legal"] for name, more in found.items() if name.startswith(f"{label}, ")]
        cells = [_cell(*values[name]) for name in PANELS]
        last = _cell(*long[0]) if long else ""
        lines.append([label, f"{values['seeds'][0]:g}", *cells, last])
    return markdown(["who, steps", "seeds", *PANELS.values(), "legal, long"], lines)


def cost_table(rows: Sequence[Row]) -> str:
    """What each student took, what a chunk of many at once costs, how far its fake score was."""
    taught = [row for row in rows if row.get("updates") and row["times"] == 1]
    return _grouped("who, steps", taught, label_of, _COST, _COST_DIGITS)


def sinks_table(rows: Sequence[Row], sinks: Sequence[Row]) -> str:
    """Each sink on the student that was taught it, and on the one that was taught the static one.

    The former are the ends of long clips among `rows`.
    """
    both = [{**row, "label": f"{row['sink']}, on the student of static"} for row in sinks]
    for sink, method in TAUGHT_WITH.items():
        both += [
            {**row, "label": f"{sink}, on its own student"}
            for row in rows
            if (row["method"], row["steps"], row["times"]) == (method, 4, _LONG)
            and sink != "static"
        ]
    order = {sink: k for k, sink in enumerate(reversed(TAUGHT_WITH))}
    both.sort(key=lambda row: order.get(row["label"].split(",")[0], len(order)))
    return _grouped("sink", both, lambda row: row["label"], _SINK)


def tracking_table(rows: Sequence[Row]) -> str:
    """How distances that know nothing of the world rank students."""
    lines = [
        [f"`{row['distance']}`", *(f"{row[name]:.2f}" for name in ("moves_tv", "shape_tv", "sum"))]
        for row in tracking([dict(row) for row in rows])
    ]
    return markdown(["distance", "moves", "shapes", "sum"], lines)


def markdown(names: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table, ending with a line break."""
    head = [_line(names), "|" + "---|" * len(names)]
    return "\n".join([*head, *(_line(line) for line in lines)]) + "\n"


def _grouped(
    name: str,
    rows: Sequence[Row],
    label: Callable[[Row], str],
    columns: Mapping[str, str],
    digits: Mapping[str, int] = {},
) -> str:
    """Mean and spread over seeds of rows with one label."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(label(row), []).append(row)
    lines = []
    for of, group in groups.items():
        cells = []
        for column in columns:
            values = [float(row[column]) for row in group if row.get(column) is not None]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            places = digits.get(column, 2)
            cells.append(_cell(statistics.fmean(values), spread, places) if values else "")
        lines.append([of, str(len(group)), *cells])
    return markdown([name, "seeds", *columns.values()], lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(mean: float, spread: float, digits: int = 2) -> str:
    return f"{mean:.{digits}f} ± {spread:.{digits}f}" if spread else f"{mean:.{digits}f}"
