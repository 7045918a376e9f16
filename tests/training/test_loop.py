"""The training loop: a run that was killed and resumed equals one that was not."""

from pathlib import Path

import pytest
import torch
from torch import nn

from training.loop import LoopConfig, Losses, Trainer


def _losses(model: nn.Module, step: int) -> Losses:
    x = torch.randn(16, 4)
    return {"error": (model(x) - x.sum(1, keepdim=True)).square().mean()}


def _evaluate(model: nn.Module) -> dict[str, float]:
    x = torch.eye(4)
    return {"error": float((model(x) - 1).square().mean())}


def _trainer(folder: Path, steps: int) -> Trainer:
    torch.manual_seed(7)
    config = LoopConfig(steps, 0.05, warmup=5, bf16=False, log_every=10)
    return Trainer(nn.Linear(4, 1), config, folder, seed=1)


def test_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    whole = _trainer(tmp_path / "whole", 40)
    whole.run(_losses, _evaluate, evaluate_every=20)

    cut = _trainer(tmp_path / "cut", 40)

    def stop_at_25(model: nn.Module, step: int) -> Losses:
        if step == 25:
            raise KeyboardInterrupt
        if step == 20:
            cut.save()
        return _losses(model, step)

    with pytest.raises(KeyboardInterrupt):
        cut.run(stop_at_25, _evaluate, evaluate_every=20)
    again = _trainer(tmp_path / "cut", 40)
    assert again.resume() and again.step == 20
    again.run(_losses, _evaluate, evaluate_every=20)
    for a, b in zip(whole.averaged.parameters(), again.averaged.parameters(), strict=True):
        assert torch.equal(a, b)


def test_it_learns_and_logs(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path, 200)
    with torch.no_grad():
        before = _evaluate(trainer.model)["error"]
    trainer.run(_losses, _evaluate, evaluate_every=100)
    assert _evaluate(trainer.averaged)["error"] < 0.05 * before
    rows = (tmp_path / "evaluate.csv").read_text().splitlines()
    assert rows[0] == "step,error" and rows[-1].startswith("200,")
    assert len((tmp_path / "train.csv").read_text().splitlines()) == 21


def test_other_losses_bring_a_header_of_their_own(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path, 20)

    def changing(model: nn.Module, step: int) -> Losses:
        losses = _losses(model, step)
        return losses if step < 8 else losses | {"late": losses["error"]}

    trainer.run(changing, _evaluate, evaluate_every=20)
    rows = (tmp_path / "train.csv").read_text().splitlines()
    took = "seconds_per_step,processor_s_per_step"
    headers = [row for row in rows if row.startswith("step,")]
    assert headers == [f"step,error,{took}", f"step,error,late,{took}"]
    # a loss that came in the middle of a row's steps counts from there on
    assert all(len(row.split(",")) == 5 for row in rows[rows.index(headers[1]) :])


def test_a_fresh_folder_has_nothing_to_resume(tmp_path: Path) -> None:
    assert not _trainer(tmp_path, 10).resume()
