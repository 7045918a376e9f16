"""In which types of numbers a student is kept and computes: bfloat16, float16, float32, 8 bits.

With `quantize` the matrices of a student's blocks are kept in 8 bits, one scale a row, by torchao;
they are brought back to the computing type for every call. What is published for quantised students
keeps all else as it is (LongLive 2's float8 files, Live Avatar's float8): embeddings of patches,
text, time and images, modulation, norms, biases, the head, the VAE and the text encoder. An adapter
is folded in before.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor, nn

from .type_names import INSTALL, DTypeName, Quantization

DTYPES: dict[DTypeName, torch.dtype] = {
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "fp32": torch.float32,
}
_QUANTISED = ("blocks.", "audio_injector.")
"""Parts of a student whose matrices are quantised."""
_ROW_BYTES = {"fp8": 4, "int8": 5}
"""Of a row's scale, and for int8 its zero point."""


@dataclass(frozen=True, slots=True)
class NumberTypes:
    """The type `dtype` of weights, caches and latents, and how a student's matrices are kept."""

    dtype: torch.dtype
    quantize: Quantization | None = None

    @classmethod
    def named(cls, dtype: str | None, quantize: str | None, device: torch.device) -> NumberTypes:
        """As an operator asked for; without `dtype` bfloat16 on a GPU and float32 elsewhere.

        Raises ValueError for other names.
        """
        wanted = dtype or ("bf16" if device.type == "cuda" else "fp32")
        found = next((each for name, each in DTYPES.items() if name == wanted), None)
        if found is None:
            raise ValueError(f"dtype {dtype!r}; expected one of {', '.join(DTYPES)}")
        kind = next((each for each in get_args(Quantization) if each == quantize), None)
        if quantize is not None and kind is None:
            kinds = ", ".join(get_args(Quantization))
            raise ValueError(f"quantize {quantize!r}; expected one of {kinds}")
        return cls(found, kind)

    @property
    def name(self) -> str:
        """Like bfloat16, or bfloat16 with int8 weights."""
        plain = str(self.dtype).removeprefix("torch.")
        return plain if self.quantize is None else f"{plain} with {self.quantize} weights"

    def quantises(self, layer: str, module: nn.Module) -> bool:
        """Whether the weight of a student's `layer` is kept in 8 bits."""
        return (
            self.quantize is not None
            and isinstance(module, nn.Linear)
            and layer.startswith(_QUANTISED)
        )

    def settle(self, layer: str, module: nn.Module) -> None:
        """Quantise a layer that has its weights, if it is one of those.

        Raises QuantizationMissing without torchao.
        """
        if not self.quantises(layer, module):
            return
        torchao = _torchao()
        configs = {"fp8": "Float8WeightOnlyConfig", "int8": "Int8WeightOnlyConfig"}
        assert self.quantize is not None, "quantises"
        # one layer, whatever it is called: it is the root here
        torchao.quantize_(module, getattr(torchao, configs[self.quantize])(), _is_linear)

    def weight_bytes(self, student: nn.Module) -> int:
        """Bytes of a student's weights that are in `dtype` or on `meta`, once they are settled."""
        total = 0
        for layer, module in student.named_modules():
            for name, parameter in module.named_parameters(recurse=False):
                if name == "weight" and self.quantises(layer, module):
                    assert self.quantize is not None, "quantises"
                    total += parameter.numel() + parameter.shape[0] * _ROW_BYTES[self.quantize]
                else:
                    total += parameter.numel() * self.dtype.itemsize
        return total

    def largest_copy(self, student: nn.Module) -> int:
        """Bytes of the greatest matrix that is brought back to `dtype` for a call; 0 without."""
        layers = (m for n, m in student.named_modules() if self.quantises(n, m))
        sizes = (m.weight.numel() for m in layers if isinstance(m, nn.Linear))
        return max(sizes, default=0) * self.dtype.itemsize


class QuantizationMissing(ValueError):
    """torchao is not there, or cannot be used."""


def stored_bytes(tensor: Tensor) -> int:
    """Bytes that a weight really takes, quantised or not."""
    if hasattr(tensor, "__tensor_flatten__"):
        names, _ = tensor.__tensor_flatten__()  # pyright: ignore[reportAttributeAccessIssue]
        return sum(stored_bytes(getattr(tensor, name)) for name in names)
    return tensor.numel() * tensor.element_size()


def quantised_layers(student: nn.Module) -> tuple[list[str], list[str]]:
    """The matrices that `--quantize` keeps in 8 bits, and those that stay, by their names."""
    types = NumberTypes(torch.bfloat16, "int8")
    linear = {name: m for name, m in student.named_modules() if isinstance(m, nn.Linear)}
    small = [name for name, module in linear.items() if types.quantises(name, module)]
    return small, [name for name in linear if name not in set(small)]


def _is_linear(module: nn.Module, name: str) -> bool:
    del name
    return isinstance(module, nn.Linear)


def _torchao() -> Any:
    # it takes seconds to import, and only who asks for it needs it; without a GPU it warns of
    # kernels that nobody wants
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import torchao.quantization
    except ImportError as error:
        raise QuantizationMissing(
            f"quantised weights need torchao, which cannot be imported ({error}): {INSTALL}"
        ) from error
    finally:
        logging.disable(before)
    return torchao.quantization
