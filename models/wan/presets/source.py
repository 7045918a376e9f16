"""Where the files of published models come from; free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

_INDEX = ".index.json"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a file or folder is published: a repository of the Hugging Face hub, and a path in it.

    `sections` are the parts of a `.pt` file that hold the weights, the first that is there counts;
    none: the weights are not in a section. `beside` are files that belong to it, in its folder.
    `also` are other paths under which the same part is published elsewhere.
    """

    repository: str
    path: str
    sections: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the file or folder, its own first."""
        return tuple(PurePosixPath(path).name for path in (self.path, *self.also))

    @property
    def patterns(self) -> tuple[str, ...]:
        """What has to be downloaded: itself or what is in it, its shards, and what is beside."""
        path = PurePosixPath(self.path)
        shards = ()
        if path.name.endswith(_INDEX):
            whole = PurePosixPath(path.name.removesuffix(_INDEX))
            shards = (str(path.with_name(f"{whole.stem}-*{whole.suffix}")),)
        inside = () if path.suffix else (f"{path}/*",)
        return (
            *(inside or (self.path,)),
            *shards,
            *(str(path.with_name(name)) for name in self.beside),
        )


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
