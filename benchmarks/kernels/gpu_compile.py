"""`make gpu-compile`: every kernel compiled for GPUs that are not here, and its machine code held
to a budget.

`python -m rollcast.benchmarks.kernels.gpu_compile` compiles with the installed Triton and with
those in the folders that `--triton` names, as many processes at a time as there are cores, compares
with `gpu_budgets.json` beside this file, and writes what it read. What Triton has in its cache from
an earlier run is only read again. Nothing here is a timing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .compile_case import CompileCase

BUDGETS = Path(__file__).with_name("gpu_budgets.json")
Row = dict[str, Any]
Budgets = dict[str, dict[str, dict[str, int]]]
# What a compiler may move without anyone's doing before it counts as a change for the worse.
_ROOM = {"registers": 8, "spills": 0, "shared_bytes": 0, "loop_instructions": 12}
# With torch and a compiler in each, half a gigabyte.
_AT_ONCE = min(os.cpu_count() or 1, 8)
_OTHERS = ("flex-", "tutorial-")
# Tuned against tuned, loops of the same tile differ by so much: FlexAttention with Triton 3.6 is 7%
# shorter, with 3.7.1 on a par.
_LONGER = 1.08
# What one block of threads may have of a multiprocessor's shared memory, by the CUDA programming
# guide; more and it cannot be launched, however well it compiles.
_SHARED_BYTES = {"sm_80": 166_912, "sm_90": 232_448, "sm_100": 232_448, "sm_120": 101_376}
# Of a multiprocessor; every thread's share is rounded up to 8.
_REGISTERS = 65_536


def problems(row: Row, case: CompileCase, budgets: Budgets) -> list[str]:
    """What is wrong with a row: the compiler gave up, a budget is exceeded, a feature is missing.

    `budgets[configuration][target]` are the highest values allowed. What a preset launches is in
    no list, so it has no budget either: it may not spill at all.
    """
    if "error" in row:
        return [f"does not compile: {row['error']}"]
    none = {"spills": 0} if case.of_preset else None
    budget = budgets.get(row["configuration"], {}).get(row["target"], none)
    if budget is None:
        return [f"no budget; add one to {BUDGETS.name} with --write-budgets"]
    found = [
        f"{name} {row[name]}, budget {most}" for name, most in budget.items() if row[name] > most
    ]
    found += _launch_problems(row)
    if row["serialised"]:
        found.append("wgmma_not_serialised: it waits for every warp group product by itself")
    if case.main_loop_mma:
        wanted = {"sm_90": "HGMMA", "sm_100": "UTCHMMA"}.get(row["target"], "HMMA")
        if row["mma_kind"] != wanted or not row["loop_mma"]:
            found.append(f"no {wanted} in its loop, but {row['mma_kind']}")
        if row["target"] != "sm_120" and case.bulk_copies != bool(row["bulk_copies"]):
            found.append(f"bulk copies: {row['bulk_copies']}; expected {case.bulk_copies}")
        if row["loop_spills"]:
            found.append(f"{row['loop_spills']} spills in its loop")
    return found


def _launch_problems(row: Row) -> list[str]:
    """Why the device would refuse to launch it."""
    found: list[str] = []
    most = _SHARED_BYTES[row["target"]]
    if row["shared_bytes"] > most:
        found.append(f"shared_bytes {row['shared_bytes']}; {row['target']} has {most} a block")
    registers = -(-row["registers"] // 8) * 8 * 32 * row["warps"]
    if registers > _REGISTERS:
        found.append(f"{registers} registers a block; {row['target']} has {_REGISTERS}")
    return found


def longer_than_others(rows: Iterable[Row]) -> list[str]:
    """Where our loop is longer by more than `_LONGER` than another's at the same tile."""
    loops: dict[tuple[str, str, str], int] = {}
    others: list[tuple[str, tuple[str, str, str], int]] = []
    for row in rows:
        name, where = str(row["configuration"]), (row["target"], row["triton"])
        if "error" in row:
            continue
        if name.startswith(_OTHERS):
            others.append((name, (_tile(name), *where), row["loop_instructions"]))
        elif name.startswith(("ring-tma", "sparse-tma")):
            key = (_tile(name), *where)
            loops[key] = max(loops.get(key, 0), row["loop_instructions"])
    return [
        f"longer than {name} {' '.join(key[1:])}: {loops[key]} instructions, there {loop}"
        for name, key, loop in others
        if key in loops and loops[key] > _LONGER * loop
    ]


def budgets_of(rows: Iterable[Row], cases: Mapping[str, CompileCase]) -> Budgets:
    """Budgets that all these rows of listed cases keep, with a little room."""
    made: Budgets = {}
    for row in rows:
        case = cases.get(row["configuration"])
        if "error" in row or case is None or case.of_preset:
            continue
        budget = made.setdefault(row["configuration"], {}).setdefault(row["target"], {})
        for name, room in _ROOM.items():
            limit = 255 if name == "registers" else 1 << 62
            budget[name] = max(budget.get(name, 0), min(limit, row[name] + room))
    return made


def compile_all(
    wanted: Sequence[str],
    cases: Mapping[str, CompileCase],
    folders: Sequence[Path | None],
    say: Callable[[str], None],
    *,
    first: Sequence[str] = (),
) -> list[Row]:
    """Rows of `wanted` (name@target), with the Triton of each folder; None: the installed one.

    Each folder's are shared out to as many processes as run at a time.
    """
    shares = [wanted[part::_AT_ONCE] for part in range(_AT_ONCE)]
    with tempfile.TemporaryDirectory(prefix="rollcast-cases-") as place:
        file = Path(place, "cases.json")
        file.write_text(json.dumps([case.to_json() for case in cases.values()]))
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            parts = [
                pool.submit(_compile, [str(file), *first], share, folder, say)
                for folder in folders
                for share in shares
                if share
            ]
            return [row for part in parts for row in part.result()]


def _compile(
    first: Sequence[str], wanted: Sequence[str], triton: Path | None, say: Callable[[str], None]
) -> list[Row]:
    """Rows of `wanted` from a process with the Triton of folder `triton`."""
    environment = os.environ | {"TRITON_INTERPRET": "0", "PYTHONWARNINGS": "ignore"}
    if triton is not None:
        environment["PYTHONPATH"] = str(triton.resolve())
    command = [sys.executable, "-m", f"{__package__}.compile_ahead", *first, *wanted]
    rows: list[Row] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            rows.append(json.loads(line))
            say(_line(rows[-1]))
    if process.returncode or len(rows) != len(wanted):
        raise RuntimeError(f"compiling ended with {process.returncode} after {len(rows)} kernels")
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 1 for any problem."""
    parser = argparse.ArgumentParser(prog="gpu_compile", description="See the module's docstring.")
    parser.add_argument("--triton", type=Path, action="append", default=[], metavar="FOLDER")
    parser.add_argument("--chosen", action="store_true", help="only what tiles.py picks")
    parser.add_argument("--only", default="", help="configurations, separated by commas")
    parser.add_argument("--kernels", default="", help="of what presets launch, by commas")
    parser.add_argument("--presets", action="store_true", help="only what presets launch")
    parser.add_argument("--options", action="store_true", help="only what their options launch")
    parser.add_argument("--targets", default="80,90,100,120")
    parser.add_argument("--tutorial", type=Path, help="a copy of Triton's 06-fused-attention.py")
    parser.add_argument("--budgets", type=Path, default=BUDGETS)
    parser.add_argument("--write-budgets", action="store_true")
    parser.add_argument("--out", type=Path, help="write the rows as JSON")
    plan = parser.parse_args(arguments)
    from .compile_cases import compile_cases
    from .option_cases import option_cases
    from .preset_cases import preset_cases

    alone = plan.presets or plan.options
    listed = () if alone else compile_cases()
    kernels = tuple(filter(None, plan.kernels.split(",")))
    launched = () if plan.only or plan.options else preset_cases()
    if not plan.only and not plan.presets and not plan.chosen:
        launched += option_cases()
    if kernels:
        launched = tuple(case for case in launched if case.name.split("(")[0] in kernels)
    cases = {case.name: case for case in (*listed, *launched)}
    wanted = _wanted(plan, cases)
    first = [] if plan.tutorial is None else [str(plan.tutorial)]
    rows = compile_all(wanted, cases, (None, *plan.triton), _say, first=first)
    if plan.write_budgets:
        plan.budgets.write_text(json.dumps(budgets_of(rows, cases), indent=1) + "\n")
    if plan.out:
        plan.out.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    budgets: Budgets = json.loads(plan.budgets.read_text())
    found = [
        f"{row['configuration']} {row['target']} triton {row['triton']}: {problem}"
        for row in rows
        if row["configuration"] in cases
        for problem in problems(row, cases[row["configuration"]], budgets)
    ]
    found += longer_than_others(rows)
    for line in found:
        _say(line)
    _say(f"{len(rows)} compiled, {len(found)} problems")
    return 1 if found else 0


def _wanted(plan: argparse.Namespace, cases: dict[str, CompileCase]) -> list[str]:
    targets = [int(target) for target in plan.targets.split(",")]
    only = set(filter(None, plan.only.split(",")))
    if unknown := only - cases.keys():
        raise SystemExit(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(cases)}")
    wanted = [
        f"{case.name}@{target}"
        for case in cases.values()
        for target in (case.chosen if plan.chosen else case.targets)
        if target in targets and (not only or case.name in only)
    ]
    if 90 in targets and not only and not (plan.presets or plan.options):
        tiles = ("128x128-s2", "128x64-s3", "128x64-s2")
        wanted += [f"flex-{tile}@90" for tile in tiles]
        wanted += [f"tutorial-tma-{tile}@90" for tile in tiles if plan.tutorial]
    return wanted


def _tile(configuration: str) -> str:
    """Tile and stages at the end of a name, two stages if it does not say."""
    parts = configuration.split("-")
    return "-".join(parts[-2:]) if parts[-1].startswith("s") else f"{parts[-1]}-s2"


def _line(row: Row) -> str:
    start = f"{row['configuration']:24} {row['target']:7} {row['triton']:7}"
    if "error" in row:
        return f"{start} {row['error']}"
    return (
        f"{start} {row['registers']:4} registers, {row['spills']:3} spills, loop of "
        f"{row['loop_instructions']:4} with {row['loop_mma']:3} {row['mma_kind'] or 'mma'}"
    )


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
