"""One stage with nobody beside it: what it makes of messages that come late."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from multiprocessing import Pipe

import pytest
import torch

from rollcast.models.contract import Controls, StreamRequest
from rollcast.models.pipeline.heartbeat import Heartbeat
from rollcast.models.pipeline.messages import Assign
from rollcast.models.pipeline.package import Package, pack, unpack
from rollcast.models.pipeline.stage import Stage
from rollcast.models.pipeline.stage_plan import StagePlan

from .tiny import TinyModel

pytestmark = pytest.mark.processes

TWO = StagePlan(((0, 1), (2, 3)), 0)
THREE = StagePlan(((0,), (1, 2), (3,)), 1)


class Recorded:
    """Links that only note what was sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, Package]] = []

    def send(self, to: int, package: Package) -> None:
        self.sent.append((to, package))

    def listen(self, source: int, deliver: Callable[[Package], None]) -> None: ...


@torch.inference_mode()
def test_what_was_sent_under_an_older_plan_is_forgotten() -> None:
    """It would be given the wrong steps and go round for ever, or end a stream that is new."""
    ours, executor = Pipe()
    model, links = TinyModel(), Recorded()
    stage = Stage(1, model, Heartbeat(ours), links)  # type: ignore[arg-type]
    plan = model.prepare(model.start(StreamRequest(seed=1)), Controls())
    chunk, end = Package("a.0", plan, plan_number=1), Package("a.0", None, plan_number=1)
    stage._do(Assign(TWO, 1, 0))
    stage._do(chunk)
    assert [package.plan_number for _, package in links.sent] == [1]
    stage._do(Assign(THREE, 2, 0))
    stage._do(chunk)
    assert len(links.sent) == 1
    stage._do(replace(chunk, plan_number=2))
    stage._do(end)
    assert [package.plan_number for _, package in links.sent] == [1, 2]
    assert list(stage._streams) == ["a.0"]
    ours.close()
    executor.close()


def test_a_package_says_under_which_plan_it_was_sent() -> None:
    assert unpack(pack(Package("a.0", None, plan_number=7))).package.plan_number == 7
