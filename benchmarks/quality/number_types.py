"""How far types of numbers are from float32, on golden cases of published students."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from ...models.parity.cases import TYPED, report_cases
from ...models.wan.number_types import NumberTypes

TYPES = {
    "bf16": NumberTypes(torch.bfloat16),
    "fp16": NumberTypes(torch.float16),
    "fp32, int8 weights": NumberTypes(torch.float32, "int8"),
    "fp32, fp8 weights": NumberTypes(torch.float32, "fp8"),
    "fp32, fp8 products": NumberTypes(torch.float32, "fp8-dynamic"),
    "bf16, int8 weights": NumberTypes(torch.bfloat16, "int8"),
    "bf16, fp8 weights": NumberTypes(torch.bfloat16, "fp8"),
    "bf16, fp8 products": NumberTypes(torch.bfloat16, "fp8-dynamic"),
    "fp32, int8 attention": NumberTypes(torch.float32, attention="int8"),
    "bf16, int8 attention": NumberTypes(torch.bfloat16, attention="int8"),
    "bf16, fp8 products, int8 attention": NumberTypes(torch.bfloat16, "fp8-dynamic", "int8"),
}


def measure_types(cases: Sequence[Path], say: Callable[[str], None]) -> dict[str, Any]:
    """For each case the error in every type, in standard deviations of the recorded latents.

    `first` is the greatest in the first chunk, `greatest` in any: the cache carries errors on. Of
    cases that record other values behind the latents those count too. Cases that run in float32
    alone are left out. Raises ValueError for one that cannot run.
    """
    report: dict[str, Any] = {}
    for name, types in TYPES.items():
        say(name)
        for each in report_cases(cases, types):
            if each.error is not None:
                if "run in the types of their record alone" in each.error:
                    continue
                raise ValueError(f"{each.name} cannot run in {types.name}: {each.error}")
            assert each.family in TYPED, each.family
            chunks = [difference / each.spread for difference in each.chunk_differences]
            row = report.setdefault(each.name, {"family": each.family})
            row[name] = {"first": round(chunks[0], 5), "greatest": round(max(chunks), 5)}
    return report
