"""How long the device works on a call: CUDA events, many repetitions, inputs that take turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
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
        """Milliseconds of one call, in turn one of `calls`, which differ in their inputs alone."""
        return self.race({"": calls})[""]

    def race(self, rivals: Mapping[str, Sequence[Call]]) -> dict[str, dict[str, float]]:
        """The same for each of several, one after another in every round.

        What disturbs the device or changes its clock disturbs all. The device is kept busy until
        the calls of a few rounds are queued, so that the host's part does not count.
        """
        for index in range(self.warm):
            for calls in rivals.values():
                calls[index % len(calls)]()
        times: dict[str, list[float]] = {name: [] for name in rivals}
        if self.device.type != "cuda":
            for index in range(self.rounds):
                for name, calls in rivals.items():
                    times[name].append(self._host_ms(calls[index % len(calls)]))
            return {name: spread(each) for name, each in times.items()}
        plug = torch.randn(8192, 8192, device=self.device, dtype=torch.bfloat16)
        made: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []
        for index in range(self.rounds):
            if index % 4 == 0:
                torch.cuda.synchronize(self.device)
                for _ in range(8):
                    torch.mm(plug, plug)
            for name, calls in rivals.items():
                start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                start.record()
                calls[index % len(calls)]()
                end.record()
                made.append((name, start, end))
        torch.cuda.synchronize(self.device)
        for name, start, end in made:
            times[name].append(start.elapsed_time(end))
        return {name: spread(each) for name, each in times.items()}

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
