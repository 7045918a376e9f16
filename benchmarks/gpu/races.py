"""Step 8: kernels again and again while others run, and pocket for many at once.

What a kernel computes may depend on nothing but its inputs: a race shows as a result that differs
from the one before. `compute-sanitizer` of the CUDA toolkit looks at every access where it is
installed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import torch

from ...models.pocket.config import CACHE, STEPS, STUDENT
from ...models.sampling.batches import CallRow, call_rows
from ...models.student.causal_student import CausalStudent
from ...models.student.student_cache import StudentCache
from .bench import Bench
from .kernel_checks import Grid, kernel_checks, repeating
from .random_students import pocket_conditions, random_student, random_text
from .step_process import NotHere

_TIMES = 20
_ROWS = (1, 8, 64)
_SANITIZED = ("EMA sink", "norm, RoPE and write, rotated", "ring attention, shared heads")
_SANITIZER_S = 12.0


def run(bench: Bench) -> None:
    """Small frames, so that blocks of a kernel really meet; a busy stream beside them."""
    bench.part("pocket", lambda: _pocket(bench))
    bench.part("repeats", lambda: _repeats(bench))
    bench.part("racecheck", lambda: _racecheck(bench))


def _repeats(bench: Bench) -> dict[str, Any]:
    grid = Grid(bench.device, rows=2 if bench.rehearse else 6, columns=3, frames=6)
    found: dict[str, Any] = {}
    for name, check in kernel_checks(bfloat16=not bench.rehearse).items():
        if bench.rehearse and not name.startswith(_SANITIZED[1]):
            continue
        with repeating(2 if bench.rehearse else _TIMES), _busy(bench):
            result = check(grid)
        if not result.good:
            bench.wrong(f"{name}, again and again: {result.error:.3g}")
        found[name] = result.error
    return found


class _busy:
    """A context in which another stream of the device multiplies."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def __enter__(self) -> None:
        if self._bench.on_gpu:
            a = torch.randn(2048, 2048, device=self._bench.device, dtype=torch.bfloat16)
            with torch.cuda.stream(torch.cuda.Stream(self._bench.device)):
                for _ in range(50):
                    torch.mm(a, a)

    def __exit__(self, *_: object) -> None:
        self._bench.synchronize()


def _racecheck(bench: Bench) -> dict[str, Any]:
    tool = shutil.which("compute-sanitizer")
    if tool is None or not bench.on_gpu:
        raise NotHere("needs compute-sanitizer")
    command = [tool, "--tool", "racecheck", "--error-exitcode", "9", sys.executable, "-P", "-m"]
    try:
        done = subprocess.run(
            [*command, __name__], capture_output=True, text=True, timeout=_SANITIZER_S
        )
    except subprocess.TimeoutExpired:
        raise NotHere(f"needs more than {_SANITIZER_S:g} s") from None
    if done.returncode == 9:
        bench.wrong("racecheck found hazards")
    return {"code": done.returncode, "last": (done.stdout + done.stderr).splitlines()[-3:]}


def main() -> None:
    """Under compute-sanitizer: what shares memory among threads, at the smallest sizes."""
    grid = Grid(torch.device("cuda"), rows=2, columns=3, frames=6)
    for name, check in kernel_checks().items():
        if name.startswith(_SANITIZED):
            check(grid)


def _pocket(bench: Bench) -> dict[str, Any]:
    """A chunk of the pocket student, for so many streams in one batch."""
    student = random_student(STUDENT, bench.device)
    found: dict[str, Any] = {}
    for rows in (1, 2) if bench.rehearse else _ROWS:
        chunk = _pocket_chunk(student, bench.device, rows)
        for _ in range(1 if bench.rehearse else 8):
            chunk()
        bench.peak_gb()
        found[f"{rows} rows"] = bench.clock(6, 1).apart(chunk) | {"peak_gb": bench.peak_gb()}
    return found


def _pocket_chunk(student: CausalStudent, device: torch.device, rows: int) -> Callable[[], object]:
    assert STUDENT.grid is not None
    height, width = STUDENT.grid
    caches = [
        [student.new_cache(CACHE, height=height, width=width) for _ in STEPS] for _ in range(rows)
    ]
    context, told = random_text(student), pocket_conditions(1, device)
    noise = torch.randn(1, 1, STUDENT.in_channels, height, width, device=device)

    def row(step: int, each: list[StudentCache]) -> CallRow:
        return CallRow(
            noise, context, told, each[step], clean_timestep=float(STEPS[step]), advances=True
        )

    def chunk() -> None:
        for step in range(len(STEPS)):
            with torch.inference_mode():
                call_rows(student, [row(step, each) for each in caches])

    return chunk


if __name__ == "__main__":
    main()
