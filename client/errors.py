"""What can go wrong for a client: one tree, each error with the server's code where it has one."""

from __future__ import annotations


class ClientError(Exception):
    """Base of all errors of this client."""


class ProtocolError(ClientError):
    """The server said something that protocol version 1 does not know."""


class Rejected(ClientError):
    """The server refused one control; the stream goes on without it.

    `code` is stable and meant for programs, `field` names the part of the message that is wrong,
    `cure` says what to do instead.
    """

    def __init__(self, code: str, message: str, *, field: str | None, cure: str) -> None:
        super().__init__(f"{message} ({code}). {cure}".strip())
        self.code = code
        self.field = field
        self.cure = cure


class Refused(ClientError):
    """The server ended or never opened the stream; `retry_after_s` says when to come back."""

    def __init__(
        self, code: str, message: str, *, cure: str | None, retry_after_s: float | None
    ) -> None:
        super().__init__(f"{message} ({code}). {cure or ''}".strip())
        self.code = code
        self.cure = cure
        self.retry_after_s = retry_after_s


class Disconnected(ClientError):
    """The socket was lost, and the stream could not be resumed within the server's grace time."""
