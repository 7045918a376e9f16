"""Claims are held against the spread over seeds, and tables find their place in a page."""

from pathlib import Path
from typing import Any

import pytest

from training.compare import report
from training.toy_world.claims import CLAIMS, Claim, Side, Verdict, Way, verdicts
from training.toy_world.methods import METHODS
from training.toy_world.metrics import COLUMNS
from training.toy_world.page import sinks_table, tables, write_page
from training.toy_world.sinks import TAUGHT_SINKS
from training.toy_world.table import summary

_FLOOR: dict[str, tuple[float, float]] = dict.fromkeys(list(COLUMNS), (1.0, 0.0))
_CLAIM = Claim("one is better", Side("one"), "more", "legal", Side("other"))


def _rows(method: str, *legal: float, **more: Any) -> list[dict[str, Any]]:
    every: dict[str, Any] = dict.fromkeys(list(COLUMNS), 0.5)
    about = {"method": method, "steps": 4, "times": 1} | more
    return [every | about | {"seed": k, "legal": value} for k, value in enumerate(legal)]


@pytest.mark.parametrize(
    ("one", "other", "way", "said"),
    [
        ((0.9, 0.8, 0.95), (0.7, 0.6, 0.7), "more", "yes"),
        ((0.9, 0.8, 0.95), (0.7, 0.6, 0.7), "less", "no, the other way"),
        ((0.9, 0.5, 0.7), (0.6, 0.7, 0.6), "more", "within the spread"),
        # alike on average, and so no less, though nobody could say more
        ((0.9, 0.5, 0.7), (0.6, 0.7, 0.7), "no less", "yes"),
        ((0.5, 0.5, 0.5), (0.7, 0.7, 0.7), "no less", "no"),
        # three seeds that lie together by chance are not without a spread
        ((0.71, 0.71, 0.71), (0.7, 0.7, 0.7), "more", "within the spread"),
        ((0.9,), (0.1,), "more", "one seed"),
    ],
)
def test_a_difference_beyond_the_spread_of_its_seeds_tells(
    one: tuple[float, ...], other: tuple[float, ...], way: Way, said: str
) -> None:
    claim = Claim("it is", Side("one"), way, "legal", Side("other"))
    (found,) = verdicts([*_rows("one", *one), *_rows("other", *other)], _FLOOR, [claim])
    assert found.reproduced == said
    assert found.seeds == len(one)


def test_seeds_are_compared_with_themselves() -> None:
    """Seeds that are far apart, and whose students differ by the same."""
    rows = [*_rows("one", 0.9, 0.5, 0.2), *_rows("other", 0.8, 0.4, 0.1, 0.9)]
    (found,) = verdicts(rows, _FLOOR, [_CLAIM])
    assert found.difference == pytest.approx(0.1) and found.seeds == 3
    assert found.reproduced == "yes"
    wide = _FLOOR | {"legal": (1.0, 0.2)}
    assert verdicts(rows, wide, [_CLAIM])[0].reproduced == "within the spread"
    assert verdicts(_rows("one", 0.9, 0.8), _FLOOR, [_CLAIM]) == []
    lost = _rows("other", float("nan"), float("nan"))
    assert verdicts([*_rows("one", 0.9, 0.8), *lost], _FLOOR, [_CLAIM]) == []


def test_sides_are_of_students_that_there_are() -> None:
    """What is claimed of a student is measured: its steps, its window, its measure."""
    baselines = {"flow": (10, 4, 2), "fine-flow": (10, 4, 2), "scorer": (24,), "regression": (1,)}
    for claim in CLAIMS:
        assert claim.measure in COLUMNS
        for side in (claim.who, claim.than):
            method = METHODS.get(side.method)
            if method is None:
                assert side.steps in baselines[side.method], side
                continue
            assert side.steps in method.counts and side.guidance == 1, side
            assert side.window in (method.windows or ("",)), side
    assert isinstance(verdicts([], _FLOOR, CLAIMS), list)


def test_tables_stand_between_their_marks(tmp_path: Path) -> None:
    rows = [*_rows("dmd2", 0.9, 0.8, updates=3, seconds=2.0, chunk_ms=1.0), *_rows("flow", 0.4)]
    made = tables(rows, summary(rows), [], [], _FLOOR)
    page = tmp_path / "page.md"
    words = "Before.\n\n<!-- table claims -->\nold\n<!-- end of claims -->\n\nAfter.\n"
    page.write_text(words)
    write_page(page, made)
    once = page.read_text()
    assert "old" not in once and once.startswith("Before.") and once.endswith("After.\n")
    assert "| DMD2: few steps are mended | dmd2, 4 | flow, 4 | more `legal` | +0.50" in once
    assert "| dmd2, 4 | 2 | 0.85 ± 0.07 |" in made["students"]
    assert "| dmd2, 4 | 2 | 3 | 2 | 1.00 |" in made["cost"] and "flow" not in made["cost"]
    write_page(page, made)
    assert page.read_text() == once
    page.write_text("<!-- table claims -->")
    with pytest.raises(ValueError, match="end of claims"):
        write_page(page, made)
    page.write_text("nothing")
    with pytest.raises(ValueError, match="no '<!-- table NAME -->'"):
        write_page(page, made)


def test_each_sink_stands_beside_the_student_that_was_taught_it() -> None:
    own = _rows("dmd2-ema-.99", 0.9, 0.8, times=10)
    given = [row | {"sink": sink} for sink in ("static", "ema .99") for row in _rows("", 0.7)]
    table = sinks_table([*own, *_rows("dmd2-ema-.99", 0.9)], given)
    assert [line.split(" | ")[0] for line in table.splitlines()[2:]] == [
        "| static, on the student of static",
        "| ema .99, on the student of static",
        "| ema .99, on its own student",
    ]
    assert {method.sink for method in METHODS.values()} == set(TAUGHT_SINKS)


def test_a_folder_without_seeds_is_no_comparison(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no seed-1"):
        report(tmp_path)
    assert Verdict(_CLAIM, 0.1, 0.2, 3).reproduced == "within the spread"
