"""Snapshots without what can be made again: kilobytes of a stream in place of its caches.

They are for whoever keeps streams on another machine, or very many of them. A stream that goes on
from one looks the same; bit for bit it goes on only from a whole snapshot.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeVar, runtime_checkable

from .contract import Model

State = TypeVar("State")


@runtime_checkable
class SavesSmall(Model[State], Protocol[State]):
    """A model whose streams can also be saved small; its `restore` takes either kind.

    Behind such a snapshot the next `rebuild_chunks` chunks should not be shown: to go on at a
    moment, restore one that is so many chunks older, and repeat the controls in between.
    """

    @property
    def rebuild_chunks(self) -> int:
        """How many chunks it takes until they look like those of the stream that was saved."""
        ...

    def small_snapshot(self, state: State) -> bytes:
        """What `restore` cannot make again; the whole state where it could not."""
        ...


def small_snapshot(model: Model[Any], state: Any) -> bytes:
    """The small snapshot of a model that has one, else the whole state."""
    return model.small_snapshot(state) if isinstance(model, SavesSmall) else model.snapshot(state)


def rebuild_chunks(model: Model[Any]) -> int:
    """How many chunks behind a small snapshot should not be shown; 0 where it is the whole."""
    return model.rebuild_chunks if isinstance(model, SavesSmall) else 0
