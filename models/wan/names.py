"""From the names that files use to those of our modules: wrappers off, diffusers' translated."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from torch import Tensor

from .layouts import clean_expert_name, own_name
from .weight_files import BadCheckpoint

Rename = Callable[[str], str | None]
"""The plain name of a published one; None: it is not needed."""

_WRAPPERS = ("_fsdp_wrapped_module.", "_orig_mod.", "_checkpoint_wrapped_module.", "module.")

# Diffusers' names of the parts of a decoder's residual.
_RESIDUAL = {
    "norm1": "residual.0",
    "conv1": "residual.2",
    "norm2": "residual.3",
    "conv2": "residual.6",
    "conv_shortcut": "shortcut",
}
_UP_BLOCK = re.compile(r"decoder\.up_blocks\.(\d+)\.(resnets|upsamplers)\.(\d+)\.(.+)")
_MIDDLE = re.compile(r"decoder\.mid_block\.(resnets|attentions)\.(\d+)\.(.+)")


class Renamed(Mapping[str, Tensor]):
    """Weights under plain names; what `rename` gives no name is left out.

    Raises BadCheckpoint where two names become one.
    """

    def __init__(self, weights: Mapping[str, Tensor], rename: Rename) -> None:
        self._weights = weights
        self._names: dict[str, str] = {}
        for name in weights:
            plain = rename(name)
            if plain is None:
                continue
            if plain in self._names:
                raise BadCheckpoint(f"{name} and {self._names[plain]} are both {plain}")
            self._names[plain] = name

    def __getitem__(self, name: str) -> Tensor:
        return self._weights[self._names[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def unwrapped(name: str) -> str:
    """`name` without what trainers and compilers put in, and without `model.` in front."""
    for wrapper in _WRAPPERS:
        name = name.replace(wrapper, "")
    return name.removeprefix("model.")


def student_name(name: str) -> str | None:
    """Our name, which is Wan's, of a weight of a published student; None: it is not needed."""
    return own_name(unwrapped(name))


def generator_name(name: str) -> str | None:
    """`student_name` in a file of two models, of the one that generates; None for the other's."""
    own = student_name(name)
    return own if own is None or clean_expert_name(own) is None else None


def writer_name(name: str) -> str | None:
    """The same of the model for clean latents."""
    own = student_name(name)
    return None if own is None else clean_expert_name(own)


def decoder_name(name: str, residual_blocks: int = 2) -> str | None:
    """Our name, which is Wan's, of a weight of a published VAE; None for those of its encoder.

    `residual_blocks` is what diffusers' configuration calls `num_res_blocks`: it numbers the blocks
    of a level, and Wan numbers them through.
    """
    plain = unwrapped(name)
    up, middle = _UP_BLOCK.fullmatch(plain), _MIDDLE.fullmatch(plain)
    if up is not None:
        level, kind, number, rest = up.groups()
        place = int(level) * (residual_blocks + 2)
        place += residual_blocks + 1 if kind == "upsamplers" else int(number)
        return f"decoder.upsamples.{place}.{_residual_part(rest)}"
    if middle is not None:
        kind, number, rest = middle.groups()
        place = 1 if kind == "attentions" else 2 * int(number)
        return f"decoder.middle.{place}.{_residual_part(rest)}"
    for theirs, ours in (
        ("decoder.conv_in.", "decoder.conv1."),
        ("decoder.norm_out.", "decoder.head.0."),
        ("decoder.conv_out.", "decoder.head.2."),
        ("post_quant_conv.", "conv2."),
    ):
        plain = plain.replace(theirs, ours)
    return plain if plain.startswith(("decoder.", "conv2.")) else None


def _residual_part(rest: str) -> str:
    part, _, leaf = rest.partition(".")
    return f"{_RESIDUAL[part]}.{leaf}" if part in _RESIDUAL else rest
