"""A control connection between an executor and a stage: typed messages as MessagePack.

Nothing is unpickled, so a peer can say no more than the messages of `messages`; what is not one of
them ends the connection. Connections that cross a network begin with a mutual challenge
(`authenticate`); those on one machine are socket pairs that only the two processes have.
"""

from __future__ import annotations

import hmac
import math
import secrets
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np

from .messages import FromStage, ToStage

# a stream's snapshot crosses in one message
_MOST_BYTES = 1 << 32
_CHALLENGE_BYTES = 32
_MOST_NAME_BYTES = 64
# frames and sound: all that crosses as arrays
_KINDS = ("uint8", "int16")

In = TypeVar("In")
Out = TypeVar("Out")


class BadMessage(Exception):
    """Bytes that are no message of this link."""


class WrongKey(Exception):
    """The peer does not know the key."""


class ControlLink(Generic[In, Out]):
    """Both directions of a connection, or one end of it."""

    def __init__(self, connection: Connection, decoder: msgspec.msgpack.Decoder[In]) -> None:
        self.connection = connection
        self._encoder = msgspec.msgpack.Encoder(enc_hook=_plain)
        self._decoder = decoder

    def send(self, message: Out) -> None:
        """Send a message. Raises OSError when the peer is gone or takes nothing."""
        self.connection.send_bytes(self._encoder.encode(message))

    def receive(self) -> In:
        """The next message. Raises EOFError or OSError when the peer is gone, BadMessage."""
        data = self.connection.recv_bytes(_MOST_BYTES)
        try:
            return self._decoder.decode(data)
        except (msgspec.DecodeError, ValueError, TypeError, RecursionError, MemoryError) as error:
            raise BadMessage(f"{len(data)} bytes are no message: {error}") from error

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


def link_to_stage(connection: Connection) -> ControlLink[FromStage, ToStage]:
    """The executor's end."""
    decoder = msgspec.msgpack.Decoder(FromStage, dec_hook=_array)
    return ControlLink(connection, decoder)


def link_to_executor(connection: Connection) -> ControlLink[ToStage, FromStage]:
    """A stage's end."""
    decoder = msgspec.msgpack.Decoder(ToStage, dec_hook=_array)
    return ControlLink(connection, decoder)


def authenticate(connection: Connection, key: bytes, name: str) -> str:
    """Prove that both sides know `key`, and tell each other their names; the peer's name.

    Raises WrongKey, or EOFError and OSError when the peer leaves.
    """
    ours, own_name = secrets.token_bytes(_CHALLENGE_BYTES), name.encode()
    connection.send_bytes(ours + own_name)
    hello = connection.recv_bytes(_CHALLENGE_BYTES + _MOST_NAME_BYTES)
    theirs, peer = hello[:_CHALLENGE_BYTES], hello[_CHALLENGE_BYTES:]
    # The name is part of the proof, and nobody else has ours: so no answer of ours, got on another
    # connection, is one to our own challenge.
    if len(theirs) < _CHALLENGE_BYTES or theirs == ours or peer == own_name:
        raise WrongKey("the peer sent no challenge of its own")
    connection.send_bytes(_proof(key, theirs, own_name))
    answer = connection.recv_bytes(_CHALLENGE_BYTES)
    if not hmac.compare_digest(answer, _proof(key, ours, peer)):
        raise WrongKey("the peer does not know the key")
    return peer.decode(errors="replace")


def _proof(key: bytes, challenge: bytes, name: bytes) -> bytes:
    return hmac.digest(key, challenge + name, "sha256")


def _plain(value: Any) -> Any:
    """What MessagePack has no type for."""
    if isinstance(value, np.ndarray) and value.dtype.name in _KINDS:
        return value.dtype.name, value.shape, value.tobytes()
    if isinstance(value, np.generic):
        return value.item()
    raise NotImplementedError(f"{type(value)} does not cross; arrays are {' or '.join(_KINDS)}")


def _array(kind: type, value: Any) -> Any:
    if kind is not np.ndarray:
        raise NotImplementedError(kind)
    name, shape, data = value
    if name not in _KINDS or not isinstance(data, bytes):
        raise ValueError(f"no array of {' or '.join(_KINDS)}")
    if not all(isinstance(length, int) and length >= 0 for length in shape):
        raise ValueError("no shape of an array")
    dtype = np.dtype(name)
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"{len(data)} bytes for an array {name} {tuple(shape)}")
    return np.frombuffer(data, dtype).reshape(shape)
