"""What can go wrong for a client: one tree, each error with the server's code where it has one."""

from __future__ import annotations


class ClientError(Exception):
    """Base of all errors of this client."""


class ProtocolError(ClientError):
    """The server said something that protocol version 1 does not know."""


class Rejected(ClientError):
    """The server refused one control; the stream goes on without it.

    `code` is stable and meant for programs, `field` names the part of the message that is wrong,
    `hint` says what to do instead.
    """

    def __init__(self, code: str, message: str, *, field: str | None, hint: str) -> None:
        super().__init__(f"{message} ({code}). {hint}".strip())
        self.code = code
        self.field = field
        self.hint = hint


class Refused(ClientError):
    """The server ended or never opened the stream; `retry_after_s` says when to come back."""

    def __init__(
        self, code: str, message: str, *, hint: str | None, retry_after_s: float | None
    ) -> None:
        super().__init__(f"{message} ({code}). {hint or ''}".strip())
        self.code = code
        self.hint = hint
        self.retry_after_s = retry_after_s


class Disconnected(ClientError):
    """The socket was lost, and the stream could not be resumed within the server's grace time."""
