"""Compiles kernels for GPUs that need not be there, with the Triton of this very process.

`python -m rollcast.benchmarks.kernels.compile_ahead CASES.json NAME@90 ...` prints a line of JSON
for each, as soon as it is done. Another version of Triton is another process, with that version
first on PYTHONPATH.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from .compile_case import CompileCase
from .other_kernels import flex_cases, tutorial_cases
from .sass import read_cubin

_TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"


def compile_row(case: CompileCase, target: int) -> dict[str, Any]:
    """One row of the report: `case` for compute capability `target`.

    A compiler that gives up is an `error` in the row.
    """
    row: dict[str, Any] = {
        "kernel": case.kernel.__name__.strip("_"),
        "configuration": case.name,
        "target": f"sm_{target}",
        "triton": triton.__version__,
    }
    try:
        compiled: Any = triton.compile(
            _source(case),
            target=GPUTarget("cuda", target, 32),
            options={"num_warps": case.num_warps, "num_stages": case.num_stages},
        )
        code = read_cubin(compiled.asm["cubin"], _TOOLS)
    except Exception as error:
        # Whatever a compiler raises is what the report is about.
        return row | {"error": f"{type(error).__name__}: {str(error).strip()[:400]}"}
    shared = {"shared_bytes": compiled.metadata.shared, "warps": case.num_warps}
    return row | shared | code.to_json()


def _source(case: CompileCase) -> ASTSource:
    """The kernel with what its launcher would find: types, constants, alignment."""
    names = case.kernel.arg_names
    signature = {
        name: "constexpr" if name in case.constants else case.signature[name] for name in names
    }
    constants = {(names.index(name),): value for name, value in case.constants.items()}
    aligned = [["tt.divisibility", 16]]
    attributes = {(names.index(name),): aligned for name in case.aligned}
    return ASTSource(case.kernel, signature, constexprs=constants, attrs=attributes)


def main(cases_file: str, *wanted: str) -> None:
    """Compile each `name@target` of `wanted`: one of the cases in a file, or one of others'.

    A path of the Triton tutorial may come before them.
    """
    known = map(CompileCase.from_json, json.loads(Path(cases_file).read_text()))
    tutorial = Path(wanted[0]) if wanted and wanted[0].endswith(".py") else None
    others = () if tutorial is None else tutorial_cases(tutorial)
    cases = {case.name: case for case in (*known, *flex_cases(), *others)}
    for item in wanted[tutorial is not None :]:
        name, target = item.rsplit("@", 1)
        sys.stdout.write(json.dumps(compile_row(cases[name], int(target))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
