"""A secret that no log, message or traceback shows."""

from __future__ import annotations

import hmac


class Secret:
    """Text that is compared and handed on, and never printed by accident."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self.matches(other._text)

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a secret is not copied into files or to other processes")

    def matches(self, given: str) -> bool:
        """Whether `given` is the secret, in a time that tells nothing of it."""
        theirs, ours = (text.encode(errors="surrogatepass") for text in (given, self._text))
        return hmac.compare_digest(theirs, ours)

    def reveal(self) -> str:
        """The text itself, for whoever has to pass it on."""
        return self._text
