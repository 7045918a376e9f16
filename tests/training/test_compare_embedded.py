"""Objectives on equal budgets: the budget is kept, the log is complete, and it can be drawn."""

import csv
from pathlib import Path

import torch

from training.__main__ import Run
from training.compare_embedded import learn, write
from training.plot_embedded import PANELS, panels_of
from training.student import prepare


def test_an_objective_learns_for_its_time_and_is_examined_on_the_way(
    smoke_run: Run, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    task, student = prepare(smoke_run.data, smoke_run.parts)
    log = tmp_path / "compare.csv"
    for name in ("regression", "self-rollout"):
        learn(task, student, name, 2.0, tmp_path, log)
        assert (tmp_path / f"{name}.pt").exists()
    with log.open() as file:
        rows = list(csv.DictReader(file))
    for name in ("regression", "self-rollout"):
        own = [row for row in rows if row["objective"] == name]
        assert float(own[0]["seconds"]) == 0 and float(own[-1]["seconds"]) >= 2.0
        assert [int(row["steps"]) for row in own] == sorted({int(row["steps"]) for row in own})
    # one step has no second estimate
    assert all(bool(row["latent_2"]) == (row["objective"] != "regression") for row in rows)

    panels = panels_of(log)
    assert [panel.title for panel in panels] == list(PANELS.values())
    assert all(panel.names == ("regression", "self-rollout") for panel in panels)


def test_columns_that_a_row_lacks_stay_empty(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    write(path, {"objective": "a", "seconds": 0.0, "steps": 0, "latent_1": 0.25, "other": 1.0})
    with path.open() as file:
        (row,) = csv.DictReader(file)
    assert row["latent_1"] == "0.25" and row["latent_2"] == "" and "other" not in row
