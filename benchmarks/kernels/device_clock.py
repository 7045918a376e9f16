"""How long the device works on a call: CUDA events, many repetitions, inputs that take turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

import torch

Call = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Clock:
    """`rounds` timings of each call behind `warm` untimed ones; on a CPU by the host's clock."""

    device: torch.device
    rounds: int = 40
    warm: int = 5

    def spread(self, calls: Sequence[Call]) -> dict[str, float]:
        """Milliseconds of one call, in turn one of `calls`, which differ in their inputs alone.

        The device is kept busy until every call of a round is queued, so that the host's part does
        not count.
        """
        for index in range(self.warm):
            calls[index % len(calls)]()
        if self.device.type != "cuda":
            return spread([self._host_ms(calls[i % len(calls)]) for i in range(self.rounds)])
        plug = torch.randn(8192, 8192, device=self.device, dtype=torch.bfloat16)
        events = [
            (torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True))
            for _ in range(self.rounds)
        ]
        torch.cuda.synchronize(self.device)
        for index, (start, end) in enumerate(events):
            if index % 10 == 0:
                for _ in range(8):
                    torch.mm(plug, plug)
            start.record()
            calls[index % len(calls)]()
            end.record()
        torch.cuda.synchronize(self.device)
        return spread([start.elapsed_time(end) for start, end in events])

    def apart(self, call: Call) -> dict[str, Any]:
        """The same for calls that wait for nothing and start on an idle device.

        `host` is when the call returned, with its work queued and not done.
        """
        for _ in range(self.warm):
            call()
        device_ms: list[float] = []
        host_ms: list[float] = []
        for _ in range(self.rounds):
            self._wait()
            begun = time.perf_counter()
            call()
            host_ms.append(1e3 * (time.perf_counter() - begun))
            self._wait()
            device_ms.append(1e3 * (time.perf_counter() - begun))
        return {"ms": spread(device_ms), "host_ms": spread(host_ms)}

    def _host_ms(self, call: Call) -> float:
        begun = time.perf_counter()
        call()
        return 1e3 * (time.perf_counter() - begun)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def spread(times: Sequence[float]) -> dict[str, float]:
    """Median, and what a tenth of the times is below and above."""
    if len(times) < 2:
        return {"median": times[0], "p10": times[0], "p90": times[0]}
    tenths = quantiles(times, n=10, method="inclusive")
    return {"median": median(times), "p10": tenths[0], "p90": tenths[-1]}
