"""Where the files of published models come from; free of torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Source:
    """Where a file or folder is published: a repository of the Hugging Face hub, and a path in it.

    `sections` are the parts of a `.pt` file that hold the weights, the first that is there counts;
    none: the weights are not in a section.
    """

    repository: str
    path: str
    sections: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Adapter:
    """A low-rank adapter that belongs to the student; see `lora.LowRank` for `alpha`."""

    source: Source
    alpha: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseFiles:
    """What families that build on one model share with it: all but the student."""

    vae: Source
    text_encoder: Source
    tokenizer: Source
