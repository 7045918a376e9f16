"""The looks of the model, each seen by the networks when it is first shown.

That takes some 40 ms and 6 MB a look: a server need not wait for all before its first frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch

from .looks import Look, LookEncoder, LookPictures
from .manifest import LookEntry


class LooksOnDemand(Mapping[str, Look]):
    """Looks by name, in the manifest's order; `folder` has their pictures.

    Raises FileNotFoundError if one of these is missing.
    """

    def __init__(self, encoder: LookEncoder, folder: Path, entries: Iterable[LookEntry]) -> None:
        self._encoder = encoder
        self._folder = folder
        self._entries = {entry.name: entry for entry in entries}
        self._seen: dict[str, Look] = {}
        for entry in self._entries.values():
            for name in (entry.reference, entry.opened, entry.plate):
                if not (folder / name).is_file():
                    raise FileNotFoundError(f"{folder / name} is missing, of look {entry.name}")

    def __getitem__(self, name: str) -> Look:
        if name not in self._seen:
            entry = self._entries[name]
            with torch.inference_mode():
                pictures = LookPictures.read(self._folder, entry)
                self._seen[name] = self._encoder.look(entry, pictures)
        return self._seen[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
