"""What a server's model imports is begun before the server itself is imported.

The one takes a second of a processor and the other half of one: beside each other, on two. So this
is free of whatever takes time, and looks at the command line as far as it has to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from ...models.own_models import DEFAULT_MODEL, PRELOADS
from ...models.pipeline.nursery import prepare_stages
from ..descriptors import raise_descriptor_limit

_NO_START = frozenset(("--help", "--stages"))
"""With these there is no server, or maybe not here."""


def begin(options: Sequence[str]) -> None:
    """Begin to import what the models need that `rollcast serve` is told, if it is known here.

    `serve` itself asks for it once more, of all models, and then it is there or under way.
    """
    modules = begun(options)
    if modules:
        # what is started now has the limit of now
        raise_descriptor_limit()
        prepare_stages(modules)


def begun(options: Sequence[str]) -> list[str]:
    """The modules for these options of `rollcast serve`."""
    if any(option.partition("=")[0] in _NO_START for option in options):
        return []
    named = [value for option, value in _told(options) if option == "--model"]
    models = named or [DEFAULT_MODEL]
    return list(dict.fromkeys(module for name in models for module in PRELOADS.get(name, ())))


def _told(options: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each word with what follows it: what it is told, if it is an option that is told anything."""
    for word, following in zip_longest(options, options[1:], fillvalue=""):
        option, is_whole, value = word.partition("=")
        yield option, value if is_whole else following
