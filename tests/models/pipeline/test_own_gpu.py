"""Which GPU a stage takes, and when stages may talk over NCCL: never two of them on one GPU."""

from __future__ import annotations

import pytest
import torch

from rollcast.models.pipeline import links
from rollcast.models.pipeline.links import OwnGpu


@pytest.fixture(autouse=True)
def gpus(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many there are: change its only number."""
    count = [2]
    for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count[0] > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count[0])
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(links.dist, "is_nccl_available", lambda: True)
    return count


def taken(world: int) -> list[tuple[int | None, bool]]:
    """GPU of each rank, and whether it has it for itself."""
    own = [OwnGpu.of(rank, world) for rank in range(world)]
    return [(each.device.index, each.alone) for each in own if each is not None]


def test_one_each() -> None:
    assert taken(2) == [(0, True), (1, True)]


def test_stages_that_share_a_gpu_send_through_the_host(gpus: list[int]) -> None:
    """NCCL refuses two ranks on one GPU; latents are 0.6 MB."""
    gpus[0] = 1
    assert taken(2) == [(0, False), (0, False)]
    gpus[0] = 2
    assert taken(3) == [(0, False), (1, False), (0, False)]


def test_without_any_there_is_none(gpus: list[int]) -> None:
    gpus[0] = 0
    assert OwnGpu.of(0, 2) is None


def test_torchrun_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    own = OwnGpu.of(5, 8)
    assert own is not None and (own.device.index, own.alone) == (1, True)
