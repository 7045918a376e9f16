"""`python -m rollcast.benchmarks.gpu.on_device`: is it right on this GPU, and how fast is it?

First every kernel against its definition and whole models against a CPU, then times. Exit status 1
if anything is wrong; times are taken all the same, and what fails is in the report. `--rehearse`
runs all of it at toy sizes on a CPU, kernels in Triton's interpreter, to try out this program;
its times mean nothing. Three minutes on an H100.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

_STARTED = time.perf_counter()


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 1 for any wrong result."""
    parser = argparse.ArgumentParser(prog="on_device", description="See the module's docstring.")
    parser.add_argument("--out", type=Path, help="write the report as JSON")
    parser.add_argument("--rehearse", action="store_true", help="toy sizes on a CPU")
    parser.add_argument("--only", choices=("checks", "kernels", "models"))
    plan = parser.parse_args(arguments)
    # Read when Triton is imported.
    os.environ["TRITON_INTERPRET"] = "1" if plan.rehearse else "0"
    import torch

    if not plan.rehearse and not torch.cuda.is_available():
        raise SystemExit("no CUDA device here; --rehearse runs on a CPU")
    device = torch.device("cpu" if plan.rehearse else "cuda")
    report: dict[str, Any] = _machine(device)
    sections = {
        "checks": partial(_checks, rehearse=plan.rehearse),
        "kernels": partial(_kernels, rehearse=plan.rehearse),
        "models": partial(_models, rehearse=plan.rehearse),
    }
    for name, section in sections.items():
        if plan.only in (None, name):
            report[name] = section(device)
            if plan.out:
                # After every section: a later one may not come to its end.
                plan.out.write_text(json.dumps(report, indent=1) + "\n")
    wrong = [name for name, row in report.get("checks", {}).items() if not row["good"]]
    _say(f"{len(wrong)} wrong: {', '.join(wrong) or 'none'}")
    return 1 if wrong else 0


def _machine(device: Any) -> dict[str, Any]:
    import torch
    import triton

    report: dict[str, Any] = {"torch": torch.__version__, "triton": triton.__version__}
    if device.type == "cuda":
        report |= {
            "device": torch.cuda.get_device_name(device),
            "capability": list(torch.cuda.get_device_capability(device)),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    return report


def _checks(device: Any, *, rehearse: bool) -> dict[str, Any]:
    from .kernel_checks import Grid, kernel_checks
    from .model_checks import Reach, model_checks

    grid, reach = Grid(device), Reach(device)
    if rehearse:
        grid = Grid(device, rows=2, columns=3, frames=6)
        reach = Reach(
            device, latent_rows=4, latent_columns=4, chunks=3, dim=32,
            decoder_rows=1, decoder_columns=1,
        )  # fmt: skip
    checks: dict[str, Callable[[], Any]] = {
        name: partial(check, grid) for name, check in kernel_checks(bfloat16=not rehearse).items()
    }
    checks |= {name: partial(check, reach) for name, check in model_checks().items()}
    report: dict[str, Any] = {}
    for name, check in checks.items():
        try:
            found = check()
        except Exception as error:
            # Whatever a kernel or a driver raises is a result; the other checks go on.
            report[name] = {"good": False, "error": f"{type(error).__name__}: {str(error)[:300]}"}
        else:
            report[name] = {"good": found.good, "error": found.error, "limit": found.limit}
        _say(f"{'good ' if report[name]['good'] else 'WRONG'} {name}: {report[name]['error']}")
    return report


def _kernels(device: Any, *, rehearse: bool) -> dict[str, Any]:
    import torch

    from ..rounding import rounded
    from .clock import Clock
    from .kernel_times import Shape, kernel_times

    shape, clock = Shape(), Clock(device)
    if rehearse:
        shape = Shape(rows=2, columns=6, heads=1, dim=32, text=8, dtype=torch.float16)
        clock = Clock(device, rounds=2, warm=1)
    report = rounded(kernel_times(shape, clock, _say), digits=4)
    assert isinstance(report, dict)
    return report


def _models(device: Any, *, rehearse: bool) -> dict[str, Any]:
    import torch

    from ..rounding import rounded
    from .clock import Clock
    from .model_times import Size, model_times

    size, clock = Size(), Clock(device, rounds=10, warm=2)
    if rehearse:
        size = Size(rows=4, columns=4, layers=1, dim=32, dtype=torch.float32)
        clock = Clock(device, rounds=2, warm=1)
    report = rounded(model_times(size, clock, _say, on_gpu=not rehearse), digits=4)
    assert isinstance(report, dict)
    return report


def _say(text: str) -> None:
    sys.stdout.write(f"{time.perf_counter() - _STARTED:6.1f} s  {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
