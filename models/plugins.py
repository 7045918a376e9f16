"""Models of other distributions, found by their entry points; free of torch.

A distribution that brings one says so in its `pyproject.toml`, and need not be known here:

    [project.entry-points."rollcast.models"]
    reaction-diffusion = "rollcast_reaction:load"

The name is the model's, the callable is given `LoadOptions` and returns a `contract.Model`. To list
models nothing of theirs is imported: what is shown is what the distribution says of itself.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from .contract import Model
from .load_options import LoadOptions

GROUP = "rollcast.models"


class PluginFailed(ValueError):
    """A model of another distribution cannot be used; says which, whose it is and why."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """One model of another distribution, not imported yet."""

    name: str
    entry: EntryPoint

    @property
    def distribution(self) -> str:
        """Name and version of the distribution."""
        found = self.entry.dist
        return "an unknown distribution" if found is None else f"{found.name} {found.version}"

    @property
    def about(self) -> str:
        """What the distribution says of itself in a line."""
        return self._said("Summary")

    @property
    def licence(self) -> str:
        """Its licence, empty where it names none."""
        return self._said("License-Expression") or self._said("License")

    def load(self, options: LoadOptions) -> Model[Any]:
        """The model.

        Raises PluginFailed for whatever goes wrong in its code, but FileNotFoundError as it is.
        """
        try:
            model = self.entry.load()(options)
        except FileNotFoundError:
            raise
        # it is the code of strangers: whatever it raises should say whose it is
        except Exception as error:
            raise self._failed(f"{type(error).__name__}: {error}") from error
        if not isinstance(model, Model):
            raise self._failed(f"{self.entry.value} made a {type(model).__name__}, not a model")
        if model.info.name != self.name:
            raise self._failed(f"it calls itself {model.info.name!r} in its ModelInfo")
        return model

    def _said(self, field: str) -> str:
        found = self.entry.dist
        if found is None or field not in found.metadata:
            return ""
        return found.metadata[field].partition("\n")[0]

    def _failed(self, why: str) -> PluginFailed:
        return PluginFailed(
            f"model {self.name} of the distribution {self.distribution} cannot be used: {why}"
        )


def plugins(taken: Collection[str]) -> dict[str, Plugin]:
    """The models of other distributions by name, but for names that are `taken`."""
    named: dict[str, Plugin] = {}
    for each in _found():
        if each.name not in taken:
            named.setdefault(each.name, each)
    return named


def unusable(taken: Collection[str]) -> list[str]:
    """A line on each model that another one takes the name of, ours or an earlier one's."""
    usable = plugins(taken)
    return [
        f"model {each.name} of the distribution {each.distribution} is left out: its name is taken"
        for each in _found()
        if usable.get(each.name) != each
    ]


def _found() -> list[Plugin]:
    return sorted(
        (Plugin(entry.name, entry) for entry in entry_points(group=GROUP)),
        key=lambda each: (each.name, each.distribution),
    )
