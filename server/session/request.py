"""What a client asks for when it opens a stream, as the model is told it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from ...models.contract import PICTURE, ModelInfo, StreamRequest
from ..protocol.client_messages import SessionCreate
from ..protocol.errors import InvalidField
from .control_queue import check_scene, check_supported


def stream_request(
    message: SessionCreate,
    info: ModelInfo,
    seed: int,
    *,
    picture: bytes | None = None,
    image: bytes | None = None,
) -> StreamRequest:
    """The request for a stream of this model.

    `picture` and `image` are what was made of the message's own, `seed` is taken when the message
    has none. A field that the message and `StreamRequest` share by name needs no code here.

    Raises NotSupported for a field that the model does not take, UnknownScene for its scene, and
    InvalidField if it has to have an image and there is none.
    """
    wanted: dict[str, Any] = {
        each.name: getattr(message, each.name) for each in fields(StreamRequest)
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
    wanted["picture"], wanted["image"] = picture, image
    check_image(info, given=image is not None)
    wanted["seed"] = seed if message.seed is None else message.seed
    return StreamRequest(**wanted)


def check_image(info: ModelInfo, *, given: bool) -> None:
    """Raise InvalidField unless there is an image where the model cannot begin without one."""
    image = info.inputs.image
    if image is not None and image.required and not given:
        raise InvalidField(
            f"{info.name} starts from an image, and there is none",
            field="image",
            hint=f"Send a JPEG, PNG or WebP in image, best {image.width} x {image.height} pixels.",
        )
