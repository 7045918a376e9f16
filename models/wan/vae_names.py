"""Names of the weights of Wan's VAEs: diffusers' turned into those of Wan's own files."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from .names import unwrapped

# Diffusers' names of the parts of a residual.
_RESIDUAL = {
    "norm1": "residual.0",
    "conv1": "residual.2",
    "norm2": "residual.3",
    "conv2": "residual.6",
    "conv_shortcut": "shortcut",
}
_ENDS = (
    ("coder.conv_in.", "coder.conv1."),
    ("coder.norm_out.", "coder.head.0."),
    ("coder.conv_out.", "coder.head.2."),
    ("post_quant_conv.", "conv2."),
    ("quant_conv.", "conv1."),
)
_MIDDLE = re.compile(r"(..coder)\.mid_block\.(resnets|attentions)\.(\d+)\.(.+)")
_LEVEL = re.compile(
    r"(..coder)\.(up|down)_blocks\.(\d+)\.(resnets\.\d+|(?:up|down)samplers?(?:\.0)?)\.(.+)"
)
_FLAT = re.compile(r"encoder\.down_blocks\.(\d+)\.(.+)")
_RESNET = re.compile(r"(..coder)\.(?:up|down)_blocks\.0\.resnets\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class VaeLayout:
    """What diffusers' names leave open.

    `decoder_blocks` and `encoder_blocks` are the residuals of a level: diffusers numbers them
    within it, and Wan 2.1 numbers them through. With `nested` levels Wan's names have them too (Wan
    2.2).
    """

    decoder_blocks: int = 3
    encoder_blocks: int = 2
    nested: bool = False

    @classmethod
    def of(cls, names: Iterable[str]) -> VaeLayout:
        """Of the names in a file."""
        plain = [unwrapped(name) for name in names]
        blocks: dict[str, int] = {}
        for found in filter(None, map(_RESNET.match, plain)):
            blocks[found[1]] = max(blocks.get(found[1], 0), int(found[2]) + 1)
        nested = any(".upsampler." in name for name in plain)
        return cls(blocks.get("decoder", 3), blocks.get("encoder", 2), nested)

    def name(self, published: str) -> str | None:
        """Wan's name of a weight of a VAE; None for what is no part of encoder or decoder."""
        plain = unwrapped(published)
        middle, level = _MIDDLE.fullmatch(plain), _LEVEL.fullmatch(plain)
        flat = _FLAT.fullmatch(plain)
        if middle is not None:
            half, kind, number, rest = middle.groups()
            place = 1 if kind == "attentions" else 2 * int(number)
            return f"{half}.middle.{place}.{_residual_part(rest)}"
        if level is not None:
            half, way, number, part, rest = level.groups()
            return f"{half}.{self._place(half, way, int(number), part)}.{_residual_part(rest)}"
        if flat is not None:
            number, rest = flat.groups()
            return f"encoder.downsamples.{number}.{_residual_part(rest)}"
        for theirs, ours in _ENDS:
            if theirs in plain:
                plain = plain.replace(theirs, ours)
                break
        known = plain.startswith(("decoder.", "encoder.", "conv1.", "conv2."))
        return plain if known else None

    def _place(self, half: str, way: str, level: int, part: str) -> str:
        """Where a part of a level is."""
        blocks = self.decoder_blocks if half == "decoder" else self.encoder_blocks
        inside = int(part.removeprefix("resnets.")) if part.startswith("resnets") else blocks
        if self.nested:
            return f"{way}samples.{level}.{way}samples.{inside}"
        return f"{way}samples.{level * (blocks + 1) + inside}"


def _residual_part(rest: str) -> str:
    part, _, leaf = rest.partition(".")
    return f"{_RESIDUAL[part]}.{leaf}" if part in _RESIDUAL else rest
