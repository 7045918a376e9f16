"""Avatars in LiveKit rooms: a worker that joins by invitation, speaks what an agent says.

Needs `pip install rollcast-client[livekit]`; `rollcast livekit` runs it. Two contracts invite it,
so that agents need no code of ours: that of bitHuman's plugin (`launch`) and LiveAvatar's LITE
mode (`lite`).
"""
