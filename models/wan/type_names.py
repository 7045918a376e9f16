"""Names of types of numbers, and what has to be installed for some; free of torch."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

DTypeName = Literal["bf16", "fp16", "fp32"]
Quantization = Literal["fp8", "fp8-dynamic", "int8"]
INSTALL = "pip install 'rollcast[quantize]'"


def can_quantise(kind: str) -> bool:
    """Whether torchao is installed if `kind` needs it; it is not imported, which takes seconds."""
    return kind == "fp8-dynamic" or find_spec("torchao") is not None
