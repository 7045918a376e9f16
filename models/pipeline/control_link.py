"""A control connection between an executor and a stage: typed messages as MessagePack.

Nothing is unpickled, so a peer can say no more than the messages of `messages`; what is not one of
them ends the connection. On one machine it is a socket pair that only the two processes have,
between machines a secure channel (`secure_channel`).
"""

from __future__ import annotations

from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np

from .messages import FromStage, ToStage

# a stream's snapshot crosses in one message
_MOST_BYTES = 1 << 32
# frames and sound: all that crosses as arrays
_KINDS = ("uint8", "int16")
_DTYPES = {name: np.dtype(name) for name in _KINDS}

In = TypeVar("In")
Out = TypeVar("Out")


class BadMessage(Exception):
    """Bytes that are no message of this link."""


class ControlLink(Generic[In, Out]):
    """Both directions of a connection, or one end of it."""

    def __init__(self, connection: Connection, decoder: msgspec.msgpack.Decoder[In]) -> None:
        self.connection = connection
        self._encoder = msgspec.msgpack.Encoder(enc_hook=encode_array)
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
    decoder = msgspec.msgpack.Decoder(FromStage, dec_hook=decode_array)
    return ControlLink(connection, decoder)


def link_to_executor(connection: Connection) -> ControlLink[ToStage, FromStage]:
    """A stage's end."""
    decoder = msgspec.msgpack.Decoder(ToStage, dec_hook=decode_array)
    return ControlLink(connection, decoder)


def encode_array(value: Any) -> Any:
    """What MessagePack has no type for, as values of types that it has."""
    if isinstance(value, np.ndarray) and value.dtype.name in _KINDS:
        return value.dtype.name, value.shape, value.tobytes()
    if isinstance(value, np.generic):
        return value.item()
    raise NotImplementedError(f"{type(value)} does not cross; arrays are {' or '.join(_KINDS)}")


def decode_array(kind: type, value: Any) -> Any:
    """The array of such values. Raises ValueError for what is none."""
    if kind is not np.ndarray:
        raise NotImplementedError(kind)
    # a gateway comes here for every chunk of every stream
    name, shape, data = value
    dtype = _DTYPES.get(name)
    if dtype is None or not isinstance(data, bytes):
        raise ValueError(f"no array of {' or '.join(_KINDS)}")
    size = dtype.itemsize
    for length in shape:
        if type(length) is not int or length < 0:
            raise ValueError("no shape of an array")
        size *= length
    if size != len(data):
        raise ValueError(f"{len(data)} bytes for an array {name} {tuple(shape)}")
    array = np.frombuffer(data, dtype)
    return array if len(shape) == 1 else array.reshape(shape)
