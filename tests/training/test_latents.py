"""Kept latents are those that would be encoded, and are made anew when anything has changed."""

from pathlib import Path

import pytest
import torch

from training.autoencoder import Autoencoder
from training.clips import Clips, load_index, load_looks
from training.latents import kept_latents
from training.sequences import References


@torch.no_grad()
def test_latents_are_kept_until_the_weights_or_the_clips_change(
    smoke_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = load_index(smoke_folder)
    looks = load_looks(smoke_folder, index)
    splits = {"test": Clips(smoke_folder, "test", index, looks)}
    model = Autoencoder()
    for parameter in model.parameters():
        parameter.add_(0.02 * torch.randn_like(parameter))
    references = References(model, looks)
    file = tmp_path / "latents.pt"
    made = kept_latents(file, model, splits, references)["test"]
    with monkeypatch.context() as patch:
        patch.setattr("training.latents.encode_clips", None)
        again = kept_latents(file, model, splits, references)["test"]
    for a, b in zip(made, again, strict=True):
        assert torch.equal(a, b)
    # without a plate a face's latents are others
    assert not torch.equal(made[0], made[1])

    next(model.encoder.parameters()).add_(0.5)
    other = kept_latents(file, model, splits, references)["test"]
    assert not torch.equal(other[0], made[0])

    splits["test"].frames[0] = 0
    changed = kept_latents(file, model, splits, references)["test"]
    assert not torch.equal(changed[0][0], other[0][0])
    assert torch.equal(changed[0][1], other[0][1])
