"""Everything that can be said to a client that went wrong: one class per wire code.

A `StreamError` is a peer's mistake or a refusal. It is sent to that client alone, as `rejected`
when it answers a control and as `error` otherwise. Fatal ones close the socket.
"""

from __future__ import annotations

from copy import copy
from typing import ClassVar, Self


class StreamError(Exception):
    """Base of the tree; `code` is the wire code, `hint` what the client can do about it.

    `event_id` is that of the message at fault, `rejects` whether this was a control; `seq` is that
    of the packet at fault.
    """

    code: ClassVar[str]
    default_hint: ClassVar[str]
    fatal_by_default: ClassVar[bool] = False
    close_code: ClassVar[int] = 4400
    ends_stream: ClassVar[bool] = True
    """Whether a fatal one ends the stream as well; if not, the stream may be resumed."""

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        hint: str | None = None,
        retry_after_s: float | None = None,
        event_id: str | None = None,
        fatal: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.hint = hint or self.default_hint
        self.retry_after_s = retry_after_s
        self.event_id = event_id
        self.rejects = event_id is not None
        self.seq: int | None = None
        self.fatal = self.fatal_by_default if fatal is None else fatal

    def anew(self) -> Self:
        """The same error, never raised: it keeps nothing alive of where it was raised before."""
        return copy(self)


class BadJson(StreamError):
    code = "bad_json"
    default_hint = "Send one JSON object per text message, in UTF-8, without NaN or Infinity."


class UnknownType(StreamError):
    code = "unknown_type"
    default_hint = "Use one of the message types or packet kinds of protocol version 1."


class InvalidField(StreamError):
    code = "invalid_field"
    default_hint = "Correct the named field; its limits are in the protocol document."


class TooLarge(StreamError):
    code = "too_large"
    default_hint = "Split the message; the limits are in the server's hello."


class UnsupportedVersion(StreamError):
    code = "unsupported_version"
    default_hint = "Offer protocol version 1 in hello.versions."
    fatal_by_default = True


class UnsupportedCodec(StreamError):
    code = "unsupported_codec"
    default_hint = "Offer at least one of the codecs that the message names."
    fatal_by_default = True


class Unauthorized(StreamError):
    code = "unauthorized"
    default_hint = "Send the server's token in hello.token, or as a Bearer token over HTTP."
    fatal_by_default = True
    close_code = 4401


class ForbiddenOrigin(StreamError):
    code = "forbidden_origin"
    default_hint = "Open the page from this server, or add its origin to the allowed ones."
    fatal_by_default = True
    close_code = 4403


class OutOfOrder(StreamError):
    code = "out_of_order"
    default_hint = (
        "Send hello first, then session.create, session.resume or session.watch, then controls."
    )


class ReadOnly(StreamError):
    code = "read_only"
    default_hint = "Who watches by a share link may send ack, key, ping and session.close only."


class UnknownModel(StreamError):
    code = "unknown_model"
    default_hint = "Choose a model named in the server's hello."


class UnknownScene(StreamError):
    code = "unknown_scene"
    default_hint = "Choose a scene of this model named in the server's hello."


class UnknownSession(StreamError):
    code = "unknown_session"
    default_hint = "Send session.create to start a new stream."


class WrongResumeToken(StreamError):
    code = "wrong_resume_token"
    default_hint = "Use the resume_token of the session.ready that opened this stream."


class SessionExpired(StreamError):
    code = "session_expired"
    default_hint = "Send session.create to start a new stream."


class Capacity(StreamError):
    code = "capacity"
    default_hint = "Connect again after retry_after_s seconds."
    fatal_by_default = True
    close_code = 4429


class RateLimited(StreamError):
    code = "rate_limited"
    default_hint = "Send fewer messages: merge pointer moves and send audio in longer pieces."
    close_code = 4429
    ends_stream = False


class AudioOverflow(StreamError):
    code = "audio_overflow"
    default_hint = "Send audio no further ahead of its playback than limits.max_queued_audio_ms."


class NotSupported(StreamError):
    code = "not_supported"
    default_hint = "Use only the inputs that the model lists in the server's hello."


class Replaced(StreamError):
    code = "replaced"
    default_hint = "Nothing to do: this stream went on over a newer connection."
    fatal_by_default = True
    close_code = 4409


class Ended(StreamError):
    code = "ended"
    default_hint = "Nothing to do: the server's operator ended this stream."
    fatal_by_default = True
    close_code = 4410


class EngineFailed(StreamError):
    code = "engine_failed"
    default_hint = "Connect again later; the server's log says what failed."
    fatal_by_default = True
    close_code = 4500


class Draining(StreamError):
    code = "draining"
    default_hint = "The server is shutting down; connect again after retry_after_s seconds."
    fatal_by_default = True
    close_code = 4503


class Timeout(StreamError):
    code = "timeout"
    default_hint = "Keep sending ack or ping messages, and read what the server sends."
    fatal_by_default = True
    close_code = 4408
    ends_stream = False


ERRORS: tuple[type[StreamError], ...] = (
    BadJson,
    UnknownType,
    InvalidField,
    TooLarge,
    UnsupportedVersion,
    UnsupportedCodec,
    Unauthorized,
    ForbiddenOrigin,
    OutOfOrder,
    ReadOnly,
    UnknownModel,
    UnknownScene,
    UnknownSession,
    WrongResumeToken,
    SessionExpired,
    Capacity,
    RateLimited,
    AudioOverflow,
    NotSupported,
    Replaced,
    Ended,
    EngineFailed,
    Draining,
    Timeout,
)
