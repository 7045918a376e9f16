"""What a step of `rollcast bench gpu` is given: a device, sizes, and where its results go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ..rounding import rounded
from .clock import Clock
from .step_process import NotHere

_DIGITS = 4


@dataclass(slots=True)
class Bench:
    """`note` and `wrong` are told at once, so that a step that ends early loses nothing.

    `encoders` gives the server's by name, each to be opened with width, height, frames a second and
    kbit a second, or None for one that does not open here. With `rehearse` all is as small as
    can be and on a CPU: times mean nothing then.
    """

    device: torch.device
    rehearse: bool
    send: Callable[[dict[str, Any]], None]
    encoders: Callable[[], Mapping[str, Callable[..., Any] | None]] | None = None

    def note(self, name: str, value: object) -> None:
        """A result, JSON-able; another one of the same name takes its place."""
        self.send({"note": name, "value": rounded(value, digits=_DIGITS)})

    def wrong(self, what: str) -> None:
        """A result that must not be."""
        self.send({"wrong": what})

    def part(self, name: str, make: Callable[[], object]) -> None:
        """Note what `make` returns; if it needs what is not here, or fails, that and go on."""
        try:
            found = make()
        except NotHere as why:
            found = {"skipped": str(why)}
        except Exception as error:
            # Whatever a driver, a compiler or a package raises is the result; parts to come go on.
            found = {"error": f"{type(error).__name__}: {str(error)[:300]}"}
            self.wrong(f"{name}: {found['error']}")
        self.note(name, found)

    def clock(self, rounds: int, warm: int = 3) -> Clock:
        """A clock for so many rounds."""
        return Clock(self.device, 1, 0) if self.rehearse else Clock(self.device, rounds, warm)

    @property
    def on_gpu(self) -> bool:
        """Whether there is one."""
        return self.device.type == "cuda"

    def synchronize(self) -> None:
        """Wait for the device."""
        if self.on_gpu:
            torch.cuda.synchronize(self.device)

    def peak_gb(self) -> float | None:
        """The most memory that was in use since it was last asked for; None on a CPU."""
        if not self.on_gpu:
            return None
        peak = torch.cuda.max_memory_allocated(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        return peak / 1e9
