"""The check of machine code: what it reads, what it refuses, and that it does refuse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

from rollcast.benchmarks.kernels.compile_case import CompileCase
from rollcast.benchmarks.kernels.compile_cases import compile_cases
from rollcast.benchmarks.kernels.gpu_compile import (
    BUDGETS,
    budgets_of,
    longer_than_others,
    main,
    problems,
)
from rollcast.benchmarks.kernels.sass import Listing, describe

pytestmark = pytest.mark.processes

LISTING = """
        /*0000*/                   LDC R1, c[0x0][0x28] ;
        /*0010*/                   STL [R1], R4 ;
.L_x_1:
        /*0020*/                   WARPGROUP.ARRIVE ;
        /*0030*/                   HGMMA.64x64x16.F32.BF16 R24, gdesc[UR4], !UPT ;
        /*0040*/                   FMUL R5, R6, R7 ;
        /*0050*/              @!P0 FFMA R5, R6, R7, R8 ;
        /*0060*/                   MUFU.EX2 R9, R5 ;
        /*0070*/                   UTMALDG.2D [UR8], [UR6] ;
        /*0080*/               @P1 BRA `(.L_x_1) ;
.L_x_2:
        /*0090*/                   HGMMA.64x64x16.F32.BF16 R24, gdesc[UR4], !UPT ;
        /*00a0*/                   FSEL R5, R6, R7, P0 ;
        /*00b0*/                   FSEL R5, R6, R7, P0 ;
        /*00c0*/                   FSEL R5, R6, R7, P0 ;
        /*00d0*/                   FSEL R5, R6, R7, P0 ;
        /*00e0*/                   FSEL R5, R6, R7, P0 ;
        /*00f0*/                   FSEL R5, R6, R7, P0 ;
        /*0100*/               @P1 BRA `(.L_x_2) ;
        /*0110*/                   EXIT ;
.L_x_3:
        /*0120*/                   BRA `(.L_x_3);
"""


def row(**values: Any) -> dict[str, Any]:
    usual = {
        "configuration": "ring-tma-128x128", "target": "sm_90", "triton": "3.7.1",
        "registers": 200, "spills": 0, "shared_bytes": 1000, "loop_instructions": 500,
        "warps": 8, "serialised": False, "mma_kind": "HGMMA", "loop_mma": 16, "loop_spills": 0,
        "bulk_copies": 8,
    }  # fmt: skip
    return usual | values


def case(name: str = "ring-tma-128x128") -> CompileCase:
    return next(each for each in compile_cases() if each.name == name)


@pytest.mark.parametrize("case", compile_cases(), ids=lambda case: case.name)
def test_a_case_gives_every_argument_of_its_kernel_once(case: CompileCase) -> None:
    assert sorted([*case.signature, *case.constants]) == sorted(case.kernel.arg_names)
    assert set(case.aligned) <= set(case.signature)


def test_a_listing_is_read() -> None:
    """Of two loops with products the one without selects; the trap at the end is none."""
    code = describe(Listing.parse(LISTING), registers=77)
    assert (code.registers, code.spills, code.mma_kind) == (77, 1, "HGMMA")
    assert (code.loop_instructions, code.loop_mma, code.loop_multiplies) == (7, 1, 2)
    assert (code.loop_exponentials, code.bulk_copies, code.loop_spills) == (1, 1, 0)
    assert not code.serialised
    waiting = LISTING.replace("FSEL", "WARPGROUP.DEPBAR")
    assert describe(Listing.parse(waiting), registers=77).serialised


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"registers": 201}, "registers 201, budget 200"),
        ({"spills": 1}, "spills 1, budget 0"),
        ({"shared_bytes": 393_216}, "sm_90 has 232448 a block"),
        ({"warps": 16}, "102400 registers a block; sm_90 has 65536"),
        ({"loop_instructions": 501}, "loop_instructions 501, budget 500"),
        ({"serialised": True}, "wgmma_not_serialised"),
        ({"mma_kind": "HMMA"}, "no HGMMA in its loop"),
        ({"loop_mma": 0}, "no HGMMA in its loop"),
        ({"bulk_copies": 0}, "bulk copies: 0"),
        ({"loop_spills": 2}, "2 spills in its loop"),
        ({"error": "OutOfResources: shared memory"}, "does not compile"),
        ({"target": "sm_100"}, "no budget"),
    ],
)
def test_each_regression_is_told(change: dict[str, Any], told: str) -> None:
    budgets = budgets_of([row()], {"ring-tma-128x128": case()})
    for budget in (budgets["ring-tma-128x128"]["sm_90"],):
        budget |= {"registers": 200, "loop_instructions": 500, "shared_bytes": 1 << 20}
    assert not problems(row(), case(), budgets)
    found = problems(row(**change), case(), budgets)
    assert len(found) == 1 and told in found[0]


def test_others_may_be_shorter_by_a_few_instructions() -> None:
    ours = row(configuration="ring-tma-128x64-s3")
    other = row(configuration="flex-128x64-s3", loop_instructions=464)
    assert not longer_than_others([ours, other])
    assert longer_than_others([ours, other | {"loop_instructions": 462}])


def test_presets_and_others_have_no_budget() -> None:
    launched = replace(case(), of_preset=True)
    others = row(configuration="flex-128x64-s3")
    assert not budgets_of([row(), others], {launched.name: launched})


@pytest.mark.parametrize("case", compile_cases(), ids=lambda case: case.name)
def test_another_process_gets_the_same_case(case: CompileCase) -> None:
    assert CompileCase.from_json(json.loads(json.dumps(case.to_json()))) == case


def test_every_case_has_a_budget() -> None:
    budgets = json.loads(BUDGETS.read_text())
    wanted = {(each.name, f"sm_{target}") for each in compile_cases() for target in each.targets}
    assert {(name, target) for name, row in budgets.items() for target in row} == wanted
    assert all(set(each.chosen) <= set(each.targets) for each in compile_cases())


def test_the_committed_result_keeps_the_budgets(repository: Path) -> None:
    """The oldest Triton, torch's, the newest; no loop much longer than others'."""
    rows = json.loads((repository / "benchmarks" / "kernels" / "gpu_compile.json").read_text())
    cases = {each.name: each for each in compile_cases()}
    budgets = json.loads(BUDGETS.read_text())
    assert {each["triton"] for each in rows} == {"3.6.0", "3.7.1", "3.9.0"}
    for each in rows:
        if each["configuration"] in cases:
            assert not problems(each, cases[each["configuration"]], budgets), each
    assert not longer_than_others(rows)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_kernel_is_held_to_its_budget(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The real thing: compiled in a process of its own, within budget; then with a smaller one."""
    plan = ["--only", "modulate-1536", "--targets", "90", "--out", str(tmp_path / "rows.json")]
    assert main(plan) == 0
    (made,) = json.loads((tmp_path / "rows.json").read_text())
    assert made["kernel"] == "modulate_kernel" and made["registers"] > 0
    budgets = json.loads(BUDGETS.read_text())
    budgets["modulate-1536"]["sm_90"]["registers"] = made["registers"] - 1
    smaller = tmp_path / "budgets.json"
    smaller.write_text(json.dumps(budgets))
    assert main([*plan, "--budgets", str(smaller)]) == 1
    assert f"registers {made['registers']}, budget" in capsys.readouterr().out


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_branch_around_products_is_caught() -> None:
    """The planted regression: the same loop with and without an `if`, compiled for sm_90."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("planted_regression.py"))],
        env=os.environ | {"TRITON_INTERPRET": "0"},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    clean, planted = (json.loads(line) for line in done.stdout.splitlines())
    assert clean["mma_kind"] == planted["mma_kind"] == "HGMMA"
    assert not clean["serialised"] and planted["serialised"]
