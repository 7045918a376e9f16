"""Every method learns in the toy world, and a comparison goes on where it was ended."""

import csv
import json
from pathlib import Path

import pytest
import torch

from rollcast.models.toy_world.config import SINKS
from training.compare import report
from training.toy_world import teaching
from training.toy_world.bases import BASES, bases_of, shaped
from training.toy_world.comparison import Comparison, Plan
from training.toy_world.methods import METHODS
from training.toy_world.metrics import COLUMNS
from training.toy_world.network import ToyNetwork
from training.toy_world.oracle import Oracle
from training.toy_world.sites import WAYS
from training.toy_world.task import ToyTask
from training.toy_world.teaching import Budget, distil
from training.toy_world.world import Clips, Prompt, sample

_TINY = Plan(
    base_seconds=0.2,
    seconds=None,
    updates=1,
    clips=6,
    long_clips=6,
    times=2,
    width=24,
    layers=1,
    site_updates=3,
)


@pytest.mark.long
@pytest.mark.parametrize("name", METHODS)
def test_each_method_changes_its_student_and_stays_finite(name: str) -> None:
    torch.manual_seed(1)
    method = METHODS[name]

    def base(of: str) -> ToyNetwork:
        network = shaped(of, 24, 1)
        with torch.no_grad():
            network.student.head.head.weight.normal_(std=0.02)
        return network

    student = method.student(base).requires_grad_(True)
    before = [parameter.detach().clone() for parameter in student.parameters()]
    objective = method.objective(
        ToyTask(Oracle(), base("scorer"), rows=3, chunks=3, tells_steps=method.told)
    )
    distil(student, objective, Budget(updates=3), rate=1e-3)
    after = list(student.parameters())
    assert all(parameter.isfinite().all() for parameter in after)
    assert any(not torch.equal(a, b) for a, b in zip(after, before, strict=True))


def test_what_a_method_begins_with_is_taught_first() -> None:
    assert bases_of("dmd2") == ("scorer", "flow")
    assert bases_of("dmd2", "network") == ("scorer", "teacher", "flow")
    assert bases_of("blade") == ("scorer", "flow", "fine-flow")
    assert bases_of("small-by-mood") == ("scorer", "flow", "small-flow")
    assert set(bases_of("teacher")) <= set(BASES)


def test_a_budget_ends_by_whichever_is_used_up_first() -> None:
    budget = Budget(seconds=1000, updates=4)
    budget.done = 2
    assert budget.progress == 0.5
    with pytest.raises(ValueError, match="seconds or updates"):
        Budget()


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_comparison_is_kept_method_by_method(tmp_path: Path) -> None:
    run = Comparison(tmp_path, 1, _TINY)
    for name in (*BASES, "regression", "phased", "small-by-mood", "dmd2", "sinks", "sites"):
        run.run(name)
    kept = tmp_path / "seed-1"
    rows = json.loads((kept / "phased.json").read_text())
    assert [row["times"] for row in rows] == [1, 2]
    assert all(set(COLUMNS) <= set(row) and row["updates"] == 1 for row in rows)
    # what is done is not done again
    (kept / "phased.json").write_text("[]")
    run.run("phased")
    assert (kept / "phased.json").read_text() == "[]"
    with pytest.raises(ValueError, match="another plan"):
        Comparison(tmp_path, 1, Plan())
    assert [row["way"] for row in run.rows(("sites",))] == list(WAYS)
    assert [row["sink"] for row in run.rows(("sinks",))] == list(SINKS)

    report(tmp_path)
    with (tmp_path / "compare.csv").open() as file:
        named = {row["method"] for row in csv.DictReader(file)}
    bases = {"scorer", "teacher", "flow", "fine-flow"}
    assert named == bases | {"regression", "small-by-mood", "dmd2"}
    assert all(
        (tmp_path / name).exists()
        for name in ("compare.png", "clips.png", "sinks.csv", "sites.csv", "claims.md", "cost.md")
    )


@pytest.mark.long
def test_a_teacher_learns_by_two_optimizers_and_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended in its third update, and gone on with: the same weights as in one go."""
    monkeypatch.setattr(teaching, "_KEPT_EVERY", 0.0)

    def taught(file: Path, ends_at: int = 99) -> ToyNetwork:
        torch.manual_seed(5)
        network, drawn = shaped("teacher", 24, 2), 0
        # an untrained head is zero, and so would be all gradients behind it
        torch.nn.init.normal_(network.student.head.head.weight, std=0.02)

        def draw() -> Clips:
            nonlocal drawn
            drawn += 1
            if drawn == ends_at:
                raise InterruptedError
            return sample(Prompt.drawn(2), 3)

        budget = Budget(updates=4)
        told = {"causal": False, "decisive": True, "draw": draw, "unfinished": file}
        return teaching.teach_flow(network, budget, **told).network

    whole = taught(tmp_path / "whole")
    with pytest.raises(InterruptedError):
        taught(tmp_path / "parts", ends_at=3)
    parts = taught(tmp_path / "parts")
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(one, other)
    kept = torch.load(tmp_path / "whole", weights_only=True)
    matrices = len(kept["optimizer"]["state"])
    assert matrices and matrices + len(kept["optimizer1"]["state"]) == len(list(whole.parameters()))
    assert len(whole.student.blocks) == 3
