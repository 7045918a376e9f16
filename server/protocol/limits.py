"""The limits of protocol version 1: every bound that a message can meet, in one place."""

from __future__ import annotations

from ...models.picture import MAX_BYTES as MAX_PICTURE_BYTES

PROTOCOL_VERSION = 1

MAX_TEXT_BYTES = 65_536
MAX_FIRST_TEXT_BYTES = 16_384
"""Of a text before hello, which may come from anyone."""
MAX_SOCKET_BYTES = 1 << 20
MAX_PICTURE_CHARS = -(-MAX_PICTURE_BYTES // 3) * 4
PICTURES_PER_MINUTE = 20
PICTURES_AT_ONCE = 5
MAX_PROMPT_CHARS = 500
MAX_EVENT_ID_CHARS = 64
MAX_NAME_CHARS = 64
MAX_TOKEN_CHARS = 256
MAX_POINTS = 64
MAX_TRACKS = 16
MAX_TRACK_ID = 65_535
MAX_TRANSITION_CHUNKS = 64
MAX_SEED = 2**53 - 1
MIN_SIDE = 16
MAX_SIDE = 8_192
MAX_FPS = 240
MAX_TRANSLATION = 4.0
"""Of a camera's motion, in widths of the picture a second, either way."""
MAX_ROTATION = 360.0
"""In degrees a second, either way."""
MAX_FRAME_BYTES = 262_144
"""Of one frame of a client's video; also bounded by the bytes a second of its socket."""
MIN_KBPS = 32
MAX_KBPS = 50_000
AUDIO_RATE = 16_000
"""Samples per second of a client's audio, unless `session.create` names another rate."""
OPUS_RATE = 48_000
"""At which Opus is decoded, whatever it was made from."""
MIN_AUDIO_RATE = 8_000
MAX_AUDIO_RATE = 48_000
MAX_AUDIO_MS = 1_000
"""How long the audio of one packet may last, at the client's rate."""
MAX_ITEM_ID_CHARS = 64
MAX_ITEMS = 64
"""Utterances with an id that may wait or be heard at a time."""
MAX_SCHEDULED = 64
MAX_QUEUED_AUDIO_MS = 30_000
MAX_SHARE_S = 7 * 86_400
"""For how long others may come and watch by one share link."""
MIN_LEAD_CHUNKS = 1.1
MAX_LEAD_CHUNKS = 16.0
"""How many chunks a client may want to be made ahead of its playhead."""
MESSAGES_PER_S = 300
HELLO_TIMEOUT_S = 10.0
ACK_INTERVAL_MS = 200
