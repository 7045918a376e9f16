"""The two tracks of an avatar in a room: its sound, and its packets as the server encoded them."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

import numpy as np
from livekit import rtc

from ..connection import Stream
from ..errors import ClientError
from ..shown import Frame

QUEUE_MS = 200
MAX_KBPS = 1_500
"""Without a bound of our own LiveKit takes 80 kbit/s for small pictures, and drops frames."""
LEAST_KBPS = 100
FEEDBACK_EVERY_S = 0.2
CHANGE_EVERY_S = 2.0
SMALLEST_CHANGE = 0.2

log = logging.getLogger(__name__)


class RoomTracks:
    """Publishes a stream's H.264 unre-encoded, as `EncodedVideoSource` takes it, and its sound."""

    def __init__(self, stream: Stream) -> None:
        ready = stream.ready
        self._stream = stream
        self._rate = ready.sample_rate or stream.audio_rate
        self._sound = rtc.AudioSource(self._rate, 1, queue_size_ms=QUEUE_MS)
        self._picture = rtc.EncodedVideoSource(ready.width, ready.height)
        self.shown = 0
        self.refused = 0
        self._sent_bytes = 0

    async def publish(self, room: rtc.Room) -> None:
        """Publish both, the sound first: agents wait for the picture."""
        ready = self._stream.ready
        microphone = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        camera = rtc.TrackPublishOptions(
            source=rtc.TrackSource.SOURCE_CAMERA,
            video_codec=rtc.VideoCodec.H264,
            video_encoder=rtc.VideoEncoderBackend.ENCODER_BACKEND_PRE_ENCODED,
            video_encoding=rtc.VideoEncoding(
                max_bitrate=MAX_KBPS * 1000, max_framerate=max(30.0, ready.fps)
            ),
            simulcast=False,
        )
        participant = room.local_participant
        sound = rtc.LocalAudioTrack.create_audio_track("avatar-sound", self._sound)
        await participant.publish_track(sound, microphone)
        picture = rtc.LocalVideoTrack.create_video_track("avatar-picture", self._picture)
        await participant.publish_track(picture, camera)

    @property
    def queued_us(self) -> float:
        """How much of the sound was not played."""
        return self._sound.queued_duration * 1e6

    async def play(self, samples: np.ndarray) -> None:
        """Queue int16 mono; waits where the queue is full."""
        frame = rtc.AudioFrame(samples.tobytes(), self._rate, 1, len(samples))
        await self._sound.capture_frame(frame)

    def drop(self) -> None:
        """Drop what is queued."""
        self._sound.clear_queue()

    def show(self, frame: Frame, now_s: float) -> None:
        """Send a packet on, captured at this moment of the monotonic clock."""
        kind = rtc.EncodedFrameType
        ready = self._stream.ready
        taken = self._picture.capture_frame(
            rtc.EncodedVideoFrame(
                data=frame.data,
                width=ready.width,
                height=ready.height,
                codec=rtc.VideoCodec.H264,
                frame_type=kind.ENCODED_FRAME_KEY if frame.is_key else kind.ENCODED_FRAME_DELTA,
                timestamp_us=int(now_s * 1e6),
            )
        )
        self.shown += taken
        self.refused += not taken
        self._sent_bytes += len(frame.data)

    async def obey(self) -> None:
        """Pass on what receivers ask for, a key frame or fewer bits, until the stream ends."""
        loop = asyncio.get_running_loop()
        kbps, changed_s, target = MAX_KBPS, loop.time(), MAX_KBPS
        while not self._stream.is_closed:
            await asyncio.sleep(FEEDBACK_EVERY_S)
            feedback = self._picture.take_feedback()
            if feedback.keyframe_requested:
                await self._stream.key()
            if feedback.rate_control is not None:
                target = feedback.rate_control.target_bitrate_bps // 1000
            if loop.time() < changed_s + CHANGE_EVERY_S:
                continue
            sent_kbps = self._sent_bytes * 8e-3 / (loop.time() - changed_s)
            self._sent_bytes, changed_s = 0, loop.time()
            # an estimate of a link that is not full follows what is sent, and says nothing
            wanted = max(LEAST_KBPS, target) if target < sent_kbps else MAX_KBPS
            if abs(wanted - kbps) > SMALLEST_CHANGE * kbps:
                kbps = wanted
                log.info("receivers take %d kbit/s", kbps)
                with suppress(ClientError):  # lost for the moment; it is asked for again
                    await self._stream.video(max_kbps=kbps)

    async def close(self) -> None:
        """Release what the SDK holds for them."""
        await self._sound.aclose()
        await self._picture.aclose()
