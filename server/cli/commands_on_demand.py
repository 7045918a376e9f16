"""Commands of the command line, each imported when it is asked for: none waits for the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperGroup
from typer.main import get_command


class CommandsOnDemand(Mapping[str, Any]):
    """Commands by name; `places` says of each what makes it, as `module:attribute`.

    A place is a function with typer's options, or a `Typer` with commands of its own. Modules are
    named relative to this package.
    """

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = places
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            module, _, attribute = self._places[name].partition(":")
            found = getattr(import_module(f".{module}", __package__), attribute)
            self._made[name] = get_command(
                found if isinstance(found, typer.Typer) else _alone(name, found)
            )
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class GroupOnDemand(TyperGroup):
    """A group of the commands at `places`, in their order; for `Typer(cls=...)`."""

    places: ClassVar[Mapping[str, str]] = {}

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = CommandsOnDemand(self.places)  # pyright: ignore[reportAttributeAccessIssue]


def _alone(name: str, command: Any) -> typer.Typer:
    made = typer.Typer(add_completion=False, rich_markup_mode=None)
    made.command(name)(command)
    return made
