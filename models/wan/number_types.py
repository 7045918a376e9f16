"""In which types of numbers a student is kept and computes: bfloat16, float16, float32, 8 bits.

With `quantize` the matrices of a student's blocks are kept in 8 bits, one scale a row. "fp8" and
"int8" are of weights alone, by torchao: they are brought back to the computing type for every call.
With "fp8-dynamic" tokens are quantised as well and products are of float8 values
(`student.row_scaled_linear`). What is published for quantised students
keeps all else as it is (LongLive 2's float8 files, Live Avatar's float8): embeddings of patches,
text, time and images, modulation, norms, biases, the head, the VAE and the text encoder. An adapter
is folded in before.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, get_args

import torch
from torch import Tensor, nn

from ...kernels.gpu import Capability
from ..quiet_imports import quiet_imports
from ..student.causal_student import CausalStudent
from ..student.config import AttentionKind
from ..student.row_scaled_linear import RowScaledLinear
from .type_names import INSTALL, DTypeName, Quantization
from .weights import replace_part

DTYPES: dict[DTypeName, torch.dtype] = {
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "fp32": torch.float32,
}
_FLOAT8_FROM, _INT8_FROM = (8, 9), (8, 0)
_OLDEST_GPU = (8, 0)
"""The first with bfloat16; for older ones no kernel of ours is compiled."""
_QUANTISED = ("blocks.", "audio_injector.")
"""Parts of a student whose matrices are quantised."""
_ROW_BYTES: dict[Quantization, int] = {"fp8": 4, "fp8-dynamic": 4, "int8": 5}
"""Of a row's scale, and for int8 its zero point."""


@dataclass(frozen=True, slots=True)
class NumberTypes:
    """The type `dtype` of weights, caches and latents, and how a student's matrices are kept."""

    dtype: torch.dtype
    quantize: Quantization | None = None
    attention: AttentionKind = "exact"

    @classmethod
    def named(
        cls,
        dtype: str | None,
        quantize: str | None,
        device: torch.device,
        *,
        attention: str | None = None,
    ) -> NumberTypes:
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
        of_scores = next((k for k in get_args(AttentionKind) if k == (attention or "exact")), None)
        if of_scores is None:
            kinds = ", ".join(get_args(AttentionKind))
            raise ValueError(f"attention {attention!r}; expected one of {kinds}")
        return cls(found, kind, of_scores)

    @property
    def name(self) -> str:
        """Like bfloat16, or bfloat16 with int8 weights."""
        plain = str(self.dtype).removeprefix("torch.")
        products = self.quantize == "fp8-dynamic"
        parts = [] if self.attention == "exact" else [f"{self.attention} attention"]
        if self.quantize is not None:
            parts.insert(0, "fp8 products" if products else f"{self.quantize} weights")
        return f"{plain} with {' and '.join(parts)}" if parts else plain

    def quantises(self, layer: str, module: nn.Module) -> bool:
        """Whether the weight of a student's `layer` is kept in 8 bits."""
        return (
            self.quantize is not None
            and isinstance(module, nn.Linear)
            and layer.startswith(_QUANTISED)
        )

    def check_device(self, device: str, capability: Capability | None) -> None:
        """Raise ValueError if a model of these types cannot be served on such a device.

        Elsewhere the same values can be computed, slowly: that is for measuring what they cost.
        """
        if capability is not None and capability < _OLDEST_GPU:
            need, have = (".".join(map(str, each)) for each in (_OLDEST_GPU, capability))
            raise ValueError(
                f"published models need a GPU of compute capability {need} or newer, and this one "
                f"has {have}; say --device cpu"
            )
        if self.quantize == "fp8-dynamic":
            _check_gpu("--quantize fp8-dynamic", device, capability, _FLOAT8_FROM)
            if self.dtype != torch.bfloat16:
                raise ValueError("--quantize fp8-dynamic: its products come in bf16 alone")
        if self.attention != "exact":
            _check_gpu(f"--attention {self.attention}", device, capability, _INT8_FROM)
            if self.dtype == torch.float32:
                raise ValueError(
                    f"--attention {self.attention}: values stay in half precision; use bf16 or fp16"
                )
            if find_spec("triton") is None:
                raise ValueError(f"--attention {self.attention} needs Triton, which is not here")

    def settle(self, layer: str, module: nn.Module) -> nn.Module:
        """A layer that has its weights, quantised if it is one of those, be it in place.

        Raises QuantizationMissing without torchao.
        """
        if not self.quantises(layer, module):
            return module
        if self.quantize == "fp8-dynamic":
            assert isinstance(module, nn.Linear), "quantises"
            return RowScaledLinear.of(module)
        torchao = _torchao()
        configs = {"fp8": "Float8WeightOnlyConfig", "int8": "Int8WeightOnlyConfig"}
        assert self.quantize is not None, "quantises"
        # one layer, whatever it is called: it is the root here
        torchao.quantize_(module, getattr(torchao, configs[self.quantize])(), _is_linear)
        return module

    def weight_bytes(self, student: nn.Module) -> int:
        """Bytes of a student's weights that are in `dtype` or on `meta`, once they are settled."""
        total = 0
        for layer, module in student.named_modules():
            for name, parameter in module.named_parameters(recurse=False):
                if name == "weight" and self.quantises(layer, module):
                    assert self.quantize is not None, "quantises"
                    total += parameter.numel() + parameter.shape[0] * _ROW_BYTES[self.quantize]
                elif name != "scale" or not isinstance(module, RowScaledLinear):
                    total += parameter.numel() * self.dtype.itemsize
        return total

    def largest_copy(self, student: nn.Module) -> int:
        """Bytes of the greatest matrix that is brought back to `dtype` for a call; 0: none is."""
        if self.quantize == "fp8-dynamic":
            return 0
        layers = (m for n, m in student.named_modules() if self.quantises(n, m))
        sizes = (m.weight.numel() for m in layers if isinstance(m, nn.Linear))
        return max(sizes, default=0) * self.dtype.itemsize


def settle_all(student: CausalStudent, types: NumberTypes) -> None:
    """`settle` every layer of a student that has its weights, and how it attends."""
    student.attention = types.attention
    for layer, part in list(student.named_modules()):
        replace_part(student, layer, types.settle(layer, part))


def _check_gpu(option: str, device: str, capability: Capability | None, wanted: Capability) -> None:
    if device != "cuda" or capability is None:
        raise ValueError(f"{option} needs a CUDA device, and this is {device}; leave it away")
    if capability < wanted:
        need, have = (".".join(map(str, each)) for each in (wanted, capability))
        raise ValueError(f"{option} needs compute capability {need}, and this GPU has {have}")


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
    # it takes seconds to import, and only who asks for it needs it
    try:
        with quiet_imports():
            import torchao.quantization
    except ImportError as error:
        raise QuantizationMissing(
            f"quantised weights need torchao, which cannot be imported ({error}): {INSTALL}"
        ) from error
    return torchao.quantization
