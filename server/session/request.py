"""What a client asks for when it opens a stream, as the model is told it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from ...models.contract import PICTURE, ModelInfo, StreamRequest
from ..protocol.client_messages import SessionCreate
from .control_queue import check_scene, check_supported


def stream_request(
    message: SessionCreate, info: ModelInfo, picture: bytes | None, seed: int
) -> StreamRequest:
    """The request for a stream of this model.

    `picture` is what was made of the message's one, `seed` is taken when the message has none. A
    field that the message and `StreamRequest` share by name needs no code here.

    Raises NotSupported for a field that the model does not take, UnknownScene for its scene.
    """
    wanted: dict[str, Any] = {
        each.name: getattr(message, each.name, None) for each in fields(StreamRequest)
    }
    for name, value in wanted.items():
        if value is not None:
            check_supported(info, name, field=name)
    if message.scene is not None:
        check_scene(info, message.scene, has_picture=picture is not None)
    elif picture is not None:
        wanted["scene"] = PICTURE
    elif info.scenes:
        wanted["scene"] = info.scenes[0].name
    wanted["picture"] = picture
    wanted["seed"] = seed if message.seed is None else message.seed
    return StreamRequest(**wanted)
