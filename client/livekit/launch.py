"""`POST /launch`: the contract by which bitHuman's LiveKit plugin sends for an avatar.

A form (`livekit_url`, `livekit_token`, `room_name`, `model`, and the picture `avatar_image`) for
its expression models, JSON (`image` in base64, `agent_id`) for the others. The answer says 200 when
the avatar is in the room.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..picture_file import picture_of
from .avatar import CannotAppear
from .avatars import Avatars, Full
from .invitation import BadInvitation, Invitation, check_room

MAX_BODY_BYTES = 16 << 20
_FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")


async def launch(request: Request) -> Response:
    """Bring an avatar to the room that is named."""
    avatars: Avatars = request.app.state.avatars
    try:
        invitation = await invited(request, request.app.state.room_servers)
        name = await avatars.bring(invitation)
    except BadInvitation as error:
        return refusal(422, str(error), error.field)
    except Full as error:
        return refusal(503, str(error))
    except CannotAppear as error:
        return refusal(502, str(error))
    return JSONResponse({"status": "launched", "avatar": name})


def refusal(status: int, message: str, field: str | None = None) -> JSONResponse:
    """An error as JSON; `field` names the part of the request that is wrong."""
    error = {"message": message} | ({} if field is None else {"field": field})
    return JSONResponse({"error": error}, status)


async def invited(request: Request, servers: tuple[str, ...]) -> Invitation:
    """What the request asks for. Raises BadInvitation."""
    kind = request.headers.get("content-type", "")
    if not kind.startswith(_FORMS):
        return _invitation(await json_body(request), None, "image", servers)
    try:
        async with request.form(max_files=1, max_fields=20, max_part_size=1 << 20) as form:
            image = form.get("avatar_image")
            picture = await image.read() if isinstance(image, UploadFile) else None
            return _invitation(dict(form), picture, "avatar_image", servers)
    except HTTPException as error:
        raise BadInvitation(f"the form cannot be read: {error.detail}", "body") from error


async def json_body(request: Request) -> Mapping[str, Any]:
    """The JSON object of a request. Raises BadInvitation for what is none."""
    try:
        body = await request.json()
    except ValueError as error:
        raise BadInvitation("the body has to be JSON or a form", "body") from error
    if not isinstance(body, dict):
        raise BadInvitation("the body has to be a JSON object", "body")
    return body


def text_of(body: Mapping[str, Any], field: str, default: str | None = None) -> str:
    """A field that is text. Raises BadInvitation."""
    value = body.get(field, default)
    if not isinstance(value, str):
        raise BadInvitation(f"{field} is missing or no text", field)
    return value.strip()


def _invitation(
    body: Mapping[str, Any], file: bytes | None, field: str, servers: tuple[str, ...]
) -> Invitation:
    url, token = text_of(body, "livekit_url"), text_of(body, "livekit_token")
    check_room(url, token, servers)
    if body.get("avatar_image_url") or str(body.get("image", "")).startswith("http"):
        raise BadInvitation(
            "pictures are not fetched from elsewhere; give a file or a PIL image as avatar_image",
            "avatar_image_url",
        )
    data = file if file is not None else _decoded(body.get("image"))
    try:
        picture = picture_of(data, field) if data else None
    except ValueError as error:
        raise BadInvitation(str(error), field) from error
    scene = text_of(body, "avatar_id", "") or text_of(body, "agent_id", "")
    room = text_of(body, "room_name", "")
    return Invitation(url, token, room, scene=None if picture else scene or None, picture=picture)


def _decoded(image: object) -> bytes | None:
    if not isinstance(image, str):
        return None
    try:
        return base64.b64decode(image, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadInvitation("image has to be base64 of a picture file", "image") from error
