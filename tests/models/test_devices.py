"""Names of devices: what they mean on this machine, and what is said of those that are not here."""

from __future__ import annotations

import pytest
import torch

from rollcast.models.devices import check_device_name, device_named


@pytest.mark.parametrize("name", ["auto", "cuda", "cuda:0", "cuda:11", "cpu", "mps"])
def test_names(name: str) -> None:
    assert check_device_name(name) == name


@pytest.mark.parametrize("name", ["", "gpu", "cuda:", "cuda:-1", "cpu:0", "CUDA", "cuda:1x"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="expected auto, cuda, cuda:N, cpu or mps"):
        check_device_name(name)


def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for name in (None, "auto", "cpu"):
        assert device_named(name) == torch.device("cpu")
    for name in ("cuda", "cuda:0"):
        with pytest.raises(ValueError, match="sees no NVIDIA GPU here; say cpu"):
            device_named(name)
    with pytest.raises(ValueError, match="no Metal"):
        device_named("mps")


def test_with_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device_named("auto") == device_named(None) == torch.device("cuda")
    assert device_named("cuda:1") == torch.device("cuda", 1)
    assert device_named("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match="there are 2 GPUs here, 0 to 1"):
        device_named("cuda:2")
