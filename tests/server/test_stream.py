"""A stream from end to end over a real WebSocket, with the test pattern."""

from rollcast.models.test_pattern import read_barcode

from .running import running, viewing


async def test_video_starts_and_goes_on() -> None:
    async with running() as server, viewing(server.ws, codecs=("h264",)) as viewer:
        await viewer.wait_frames(20)
        video = viewer.video
        assert [packet.seq for packet in video] == list(range(len(video)))
        pictures = viewer.frames()
        assert all(read_barcode(picture) == seq for seq, picture in pictures.items())
        assert len(pictures) >= 16
