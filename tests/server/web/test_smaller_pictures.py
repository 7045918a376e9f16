"""A busy server sends smaller pictures: the same stream, the same connection, and back again."""

from __future__ import annotations

from rollcast.models.test_pattern import SIZE
from rollcast.server.session.quality import BEST, Quality

from ..running import Viewer, running, until, viewing

SMALLER = Quality(level=2, why="busy", bitrate_share=0.6, size_share=0.75)


def sizes(viewer: Viewer) -> list[tuple[int, int]]:
    formats = [each for each in viewer.messages if each["type"] == "video.format"]
    return [(each["width"], each["height"]) for each in formats]


async def test_pictures_become_smaller_and_have_their_size_again() -> None:
    small = 2 * (SIZE * 3 // 8)
    async with running() as server, viewing(server.ws) as viewer:
        await viewer.wait_frames(10)
        (stream,) = server.engine.streams
        for quality, seen in ((SMALLER, [(small, small)]), (BEST, [(small, small), (SIZE, SIZE)])):
            stream.change_quality(quality)
            await until(lambda seen=seen: sizes(viewer) == seen)
            await viewer.wait_frames(len(viewer.video) + 10)
        shown = {seq: picture.shape[:2] for seq, picture in viewer.frames().items()}
        assert list(shown) == list(range(len(shown))), "no frame is missing"
        assert set(shown.values()) == {(SIZE, SIZE), (small, small)}
        assert shown[max(shown)] == (SIZE, SIZE)
