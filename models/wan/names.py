"""From the names that files use to a student's: wrappers off, diffusers' translated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from torch import Tensor

from .layouts import clean_expert_name, own_name
from .weight_files import BadCheckpoint

Rename = Callable[[str], str | None]
"""The plain name of a published one; None: it is not needed."""

_WRAPPERS = ("_fsdp_wrapped_module.", "_orig_mod.", "_checkpoint_wrapped_module.", "module.")


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
