"""The report of `rollcast bench gpu` on disk: whole at any moment, in one or several calls."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_FORMAT = 1


class OtherReport(ValueError):
    """The file has something else, or the results of another machine."""


@dataclass(slots=True)
class Report:
    """What is known so far of `machine`; `steps` by their numbers."""

    path: Path
    machine: dict[str, Any]
    rehearsal: bool
    steps: dict[str, Any] = field(default_factory=dict)

    def take_over(self) -> None:
        """Keep the steps that are in the file already. Raises OtherReport, or OSError."""
        try:
            text = self.path.read_text()
        except FileNotFoundError:
            return
        try:
            found = json.loads(text)
            same = (found["format"], found["rehearsal"], found["machine"])
            steps = dict(found["steps"])
        except (ValueError, KeyError, TypeError) as error:
            raise OtherReport(f"{self.path} is there and holds no such report") from error
        if same != (_FORMAT, self.rehearsal, self.machine):
            raise OtherReport(f"{self.path} has the results of another machine or other versions")
        self.steps = steps

    def write(self) -> None:
        """Put it in place of the file in one go."""
        content = {
            "format": _FORMAT,
            "rehearsal": self.rehearsal,
            "machine": self.machine,
            "steps": dict(sorted(self.steps.items())),
        }
        half_written = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        half_written.write_text(json.dumps(content, indent=1) + "\n")
        half_written.replace(self.path)
