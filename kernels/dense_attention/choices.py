"""What races of providers decided, on disk for the next process: small, private, never in the way.

One JSON file. Whoever holds a race holds a lock, so that processes that start together agree. A
file that is damaged is as good as none.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from .providers import Provider

_FORMAT = 1
MAX_ENTRIES = 64
_MAX_BYTES = 256 * 1024

Race = Callable[[], tuple[Provider, Mapping[Provider, float]]]


@dataclass(frozen=True, slots=True)
class ChoiceFile:
    """The choices in `path`; the oldest go when there are more than `MAX_ENTRIES`."""

    path: Path

    def choice(self, entry: str, known: Collection[Provider], race: Race) -> Provider:
        """What was chosen for `entry`, if that is one of those `known`; else who wins the race.

        Raises OSError, before any race, where the file's folder cannot be written.
        """
        with self._locked():
            choices = self._read()
            kept = choices.get(entry, {}).get("provider")
            if kept in known:
                return cast(Provider, kept)
            chosen, times = race()
            choices.pop(entry, None)
            choices[entry] = {"provider": chosen, "ms": dict(times)}
            while len(choices) > MAX_ENTRIES:
                choices.pop(next(iter(choices)))
            self._write(choices)
            return chosen

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            if self.path.stat().st_size > _MAX_BYTES:
                return {}
            content = json.loads(self.path.read_bytes())
            if content["format"] != _FORMAT:
                return {}
            return {str(k): dict(v) for k, v in content["choices"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def _write(self, choices: dict[str, dict[str, Any]]) -> None:
        half_written = self.path.with_name(f".{secrets.token_hex(8)}")
        descriptor = os.open(half_written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                json.dump({"format": _FORMAT, "choices": choices}, file, indent=1)
            half_written.replace(self.path)
        except BaseException:
            half_written.unlink(missing_ok=True)
            raise

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time."""
        folder = self.path.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(f"{folder} cannot be written")
        lock = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _wait_for(lock)
            yield
        finally:
            # which lets go of the lock, too
            os.close(lock)


def own_choices() -> ChoiceFile:
    """The user's, for this machine."""
    base = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return ChoiceFile(Path(base).expanduser() / "rollcast" / "attention" / "choices.json")


def _wait_for(lock: int) -> None:
    # Windows has none of it, and no stages on GPUs.
    with contextlib.suppress(ImportError):
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX)
