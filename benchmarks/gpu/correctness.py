"""Step 1: every kernel against its definition, whole models against a CPU, recorded streams.

What matters most comes first: whatever a cap cuts off was the least of it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ...models.parity.cases import report_cases
from .bench import Bench
from .kernel_checks import Grid, kernel_checks, repeating
from .model_checks import Reach, exact_float32, model_checks
from .option_checks import option_checks
from .step_process import NotHere

# They were recorded on a CPU, where sums are made in another order, and run over several chunks.
_GOLDEN_LIMIT = 1e-4
GOLDENS = Path(__file__).parents[2] / "tests" / "fixtures" / "golden"


def run(bench: Bench) -> None:
    """Each check on its own; a wrong one is told, and the next goes on."""
    grid, reach = Grid(bench.device), Reach(bench.device)
    if bench.rehearse:
        grid = Grid(bench.device, rows=2, columns=3, frames=6)
        reach = Reach(
            bench.device, latent_rows=4, latent_columns=4, chunks=2, dim=32,
            decoder_rows=1, decoder_columns=1,
        )  # fmt: skip
    kernels = kernel_checks(bfloat16=not bench.rehearse)
    options = option_checks(bfloat16=not bench.rehearse)
    if bench.rehearse:
        # each kind once: the tests of kernels have them all
        kernels, options = (
            {name: each for name, each in kind.items() if "heads" not in name}
            for kind in (kernels, options)
        )
    checks: dict[str, Callable[[], Any]] = {n: partial(c, grid) for n, c in kernels.items()}
    checks |= {name: partial(check, reach) for name, check in model_checks().items()}
    checks |= {name: partial(check, grid) for name, check in options.items()}
    with repeating(2 if bench.rehearse else 3):
        for name, check in checks.items():
            bench.part(name, partial(_checked, bench, name, check))
    bench.part("goldens", partial(_goldens, bench))


def _checked(bench: Bench, name: str, check: Callable[[], Any]) -> dict[str, Any]:
    found = check()
    if not found.good:
        bench.wrong(f"{name}: {found.error:.3g}, at most {found.limit:.3g}")
    return {"error": found.error, "limit": found.limit}


def _goldens(bench: Bench) -> dict[str, Any]:
    """Recorded streams of published implementations; they lie in the repository alone."""
    files = sorted(GOLDENS.glob("*_tiny.json"))
    if not files:
        raise NotHere("needs the repository: goldens are not installed")
    found: dict[str, Any] = {}
    with exact_float32():
        reports = report_cases(files[:1] if bench.rehearse else files, device=bench.device)
    for each in reports:
        limit = max(each.tolerance, _GOLDEN_LIMIT) if bench.on_gpu else each.tolerance
        good = each.error is None and each.max_difference <= limit
        if not good:
            bench.wrong(f"golden {each.name}: {each.error or each.max_difference}")
        found[each.name] = {"error": each.max_difference, "limit": limit, "why": each.error}
    return found
