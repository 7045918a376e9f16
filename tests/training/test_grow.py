"""A checkpoint that knew fewer words goes on with more."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from rollcast.models.pocket.prompt import TokenEmbedding
from training.grow import TABLE, grow_weights
from training.loop import LoopConfig, Losses, Trainer


class _Reader(nn.Module):
    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.words = TokenEmbedding(tokens, 4, 8)

    def forward(self, asked: Tensor) -> Tensor:
        return self.words(asked).sum((1, 2)) + self.first.weight.sum()


def _losses(model: nn.Module, step: int) -> Losses:
    tokens = model.get_parameter(TABLE).shape[0]
    return {"error": model(torch.rand(6, tokens)).square().mean()}


def _trainer(folder: Path, tokens: int, steps: int) -> Trainer:
    return Trainer(_Reader(tokens), LoopConfig(steps, 0.01, bf16=False), folder, seed=1)


def test_training_goes_on_with_more_words(tmp_path: Path) -> None:
    before = _trainer(tmp_path, 5, 10)
    before.run(_losses, lambda model: {}, evaluate_every=100)
    after = _trainer(tmp_path, 7, 20)
    fresh = after.model.get_parameter(TABLE).detach().clone()
    assert after.resume() and after.step == 10
    for old, new in ((before.model, after.model), (before.averaged, after.averaged)):
        table = new.get_parameter(TABLE)
        assert torch.equal(table[:5], old.get_parameter(TABLE))
        assert torch.equal(table[5:], fresh[5:])
    after.run(_losses, lambda model: {}, evaluate_every=100)
    assert after.step == 20
    assert not torch.equal(after.model.get_parameter(TABLE)[5:], fresh[5:])


def test_words_cannot_be_taken_away() -> None:
    many, few = _Reader(7), _Reader(5)
    with pytest.raises(ValueError, match="7 words does not fit 5"):
        grow_weights(many.state_dict(), few)
