"""Names of types of numbers, and what has to be installed for some; free of torch."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

DTypeName = Literal["bf16", "fp16", "fp32"]
Quantization = Literal["fp8", "int8"]
INSTALL = "pip install 'rollcast[quantize]'"


def can_quantise() -> bool:
    """Whether torchao is installed; it is not imported, which takes seconds."""
    return find_spec("torchao") is not None
