"""How busy a device is with chunks in flight, by a stand-in whose clock is no machine's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch._C._autograd import DeviceType

pytest.importorskip("triton")

from rollcast.benchmarks.gpu.busy_share import busy_shares, computing, in_flight, share_of
from rollcast.benchmarks.gpu.random_model import Measures, random_model
from rollcast.benchmarks.gpu.virtual_device import VirtualDevice
from rollcast.models.contract import Chunk
from rollcast.models.wan.stream.model import WanModel
from rollcast.models.warm_up import first_request
from rollcast.models.yuv_frames import YuvFrames

CPU = torch.device("cpu")
CHUNKS = 3


def shares(model: WanModel, device: VirtualDevice) -> dict[str, float]:
    state = model.start(first_request(model.info))
    # a stream's first chunk is like no other
    list(in_flight(model, state, 1, 1))
    return busy_shares(device, model, state, CHUNKS)


def tiny(device: VirtualDevice) -> WanModel:
    measures = Measures(tiny=True, tiny_decoder=True)
    return random_model(measures, CPU, stand_in=device)


def test_with_the_next_chunk_asked_for_the_device_does_not_idle() -> None:
    device = VirtualDevice()
    share = shares(tiny(device), device)
    assert share["alone"] < 0.94
    assert share["in flight"] > 0.99


def test_a_model_that_waits_for_its_frames_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted regression: then nothing is gained by asking for more."""
    device = VirtualDevice()
    decode = WanModel.decode

    def waits(self: WanModel, *given: Any) -> Chunk:
        chunk = decode(self, *given)
        assert isinstance(chunk.pictures, YuvFrames)
        chunk.pictures.wait()
        return chunk

    monkeypatch.setattr(WanModel, "decode", waits)
    share = shares(tiny(device), device)
    assert share["in flight"] == pytest.approx(share["alone"], abs=0.03)


def test_a_question_to_the_device_costs_it_work() -> None:
    """The host cannot be ahead of a device that it asks."""

    def asks(step: torch.Tensor) -> None:
        for _ in range(4):
            for _ in range(8):
                step = step * 2
            float(step.sum())

    def is_ahead(step: torch.Tensor) -> None:
        for _ in range(36):
            step = step * 2

    device, x = VirtualDevice(), torch.ones(4)
    assert share_of(device.recorded(lambda: is_ahead(x))) == 1
    assert share_of(device.recorded(lambda: asks(x))) < 1


def test_the_share_of_spans() -> None:
    assert share_of([]) == 0
    assert share_of([(2, 4)]) == 1
    # one within another, two that overlap, and a gap of 2 in 10
    assert share_of([(7, 10), (0, 4), (1, 2), (3, 5)]) == pytest.approx(0.8)


def test_copies_are_no_work() -> None:
    def event(name: str, where: DeviceType, begin: float, end: float) -> SimpleNamespace:
        span = SimpleNamespace(start=begin, end=end)
        return SimpleNamespace(name=name, device_type=where, time_range=span)

    events = [
        event("Memcpy DtoH (Device -> Pinned)", DeviceType.CUDA, 4, 9),
        event("ring_attention_kernel", DeviceType.CUDA, 0, 4),
        event("cudaLaunchKernel", DeviceType.CPU, 0, 9),
    ]
    assert computing(events) == [(0, 4)]
