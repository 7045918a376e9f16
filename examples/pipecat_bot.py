"""A Pipecat bot with a face, in a browser, with nothing but this machine.

    pip install 'rollcast-client[pipecat]' 'pipecat-ai[webrtc]' && sudo apt install espeak-ng
    rollcast serve --no-open
    python examples/pipecat_bot.py            # then open http://127.0.0.1:7860

Type something and the bot says it; the button interrupts. Speech is made by espeak-ng; put your
recogniser, language model, voice and transport in their places: the face stays where it is.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from aiohttp import web
from pipecat.frames.frames import Frame, InterruptionFrame, TTSAudioRawFrame, TTSSpeakFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.services.settings import TTSSettings
from pipecat.services.tts_service import TTSService
from pipecat.transports.base_transport import TransportParams
from pipecat.transports.smallwebrtc.connection import SmallWebRTCConnection
from pipecat.transports.smallwebrtc.transport import SmallWebRTCTransport
from pipecat.workers.runner import WorkerRunner

from rollcast.client import connect
from rollcast.client.pipecat import RollcastVideoService

VOICE_RATE = 22_050
RATE = 24_000
GREETING = "Hello. I am a face for your bot."

PAGE = """<!doctype html><meta charset="utf-8"><title>A bot with a face</title>
<video id="face" autoplay playsinline></video>
<form id="say"><input id="text" placeholder="Say something" autofocus> <button>Say</button>
<button type="button" id="stop">Interrupt</button></form>
<script>
const peer = new RTCPeerConnection();
const channel = peer.createDataChannel("chat");
// sound first, then the picture: the transport expects them so
for (const kind of ["audio", "video"]) peer.addTransceiver(kind, {direction: "sendrecv"});
const stream = new MediaStream();
document.getElementById("face").srcObject = stream;
peer.ontrack = (event) => stream.addTrack(event.track);
const post = async (path, body) => (await fetch(path, {method: "POST",
  headers: {"content-type": "application/json"}, body: JSON.stringify(body)})).json();
(async () => {
  await peer.setLocalDescription(await peer.createOffer());
  if (peer.iceGatheringState !== "complete") await new Promise((done) => {
    peer.onicegatheringstatechange = () => peer.iceGatheringState === "complete" && done();
  });
  await peer.setRemoteDescription(await post("/offer", peer.localDescription));
})();
const say = document.getElementById("say"), text = document.getElementById("text");
say.onsubmit = (event) => {
  event.preventDefault();
  post("/say", {text: text.value});
  text.value = "";
};
document.getElementById("stop").onclick = () => post("/interrupt", {});
</script>"""


class Espeak(TTSService):
    """espeak-ng in the place of a voice."""

    def __init__(self) -> None:
        super().__init__(
            sample_rate=VOICE_RATE,
            push_start_frame=True,
            push_stop_frames=True,
            settings=TTSSettings(model=None, voice="en", language=None),
        )

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
        """The text's speech, all at once."""
        process = await asyncio.create_subprocess_exec(
            *("espeak-ng", "-v", "en", "--stdout", "--", text), stdout=asyncio.subprocess.PIPE
        )
        data, _ = await process.communicate()
        yield TTSAudioRawFrame(data[44 : len(data) // 2 * 2], VOICE_RATE, 1, context_id=context_id)


class Bot:
    """One browser's bot."""

    def __init__(self, url: str, connection: SmallWebRTCConnection, shape: dict[str, Any]) -> None:
        params = TransportParams(
            audio_out_enabled=True,
            audio_out_sample_rate=RATE,
            audio_out_10ms_chunks=2,
            video_out_enabled=True,
            video_out_is_live=True,
            video_out_width=shape["width"],
            video_out_height=shape["height"],
            video_out_framerate=round(shape["fps"]),
        )
        transport = SmallWebRTCTransport(connection, params)
        self.worker = PipelineWorker(
            Pipeline(
                [transport.input(), Espeak(), RollcastVideoService(url=url), transport.output()]
            ),
            params=PipelineParams(audio_out_sample_rate=RATE),
            cancel_on_idle_timeout=False,
        )

        @transport.event_handler("on_client_connected")
        async def greet(*_: object) -> None:
            await self.say(GREETING)

        @transport.event_handler("on_client_disconnected")
        async def leave(*_: object) -> None:
            await self.worker.cancel()

    async def say(self, text: str) -> None:
        """Speak after what is being said."""
        await self.worker.queue_frame(TTSSpeakFrame(text))

    async def interrupt(self) -> None:
        """Fall silent."""
        await self.worker.queue_frame(InterruptionFrame())

    async def run(self) -> None:
        """Until the browser leaves."""
        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(self.worker)
        await runner.run()


async def serve(url: str, port: int) -> web.AppRunner:
    """The page, and what it posts."""
    async with connect(url, decode=False) as stream:
        shape = {
            "width": stream.ready.width,
            "height": stream.ready.height,
            "fps": stream.ready.fps,
        }
    bots: list[Bot] = []
    tasks: set[asyncio.Task[None]] = set()

    async def page(request: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def offer(request: web.Request) -> web.Response:
        body = await request.json()
        connection = SmallWebRTCConnection()
        await connection.initialize(sdp=body["sdp"], type=body["type"])
        bots.append(Bot(url, connection, shape))
        task = asyncio.create_task(bots[-1].run())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        answer = connection.get_answer()
        assert answer is not None
        return web.json_response({"sdp": answer["sdp"], "type": answer["type"]})

    async def say(request: web.Request) -> web.Response:
        await bots[-1].say((await request.json())["text"])
        return web.json_response({})

    async def interrupt(request: web.Request) -> web.Response:
        await bots[-1].interrupt()
        return web.json_response({})

    app = web.Application()
    app.add_routes([web.get("/", page), web.post("/offer", offer)])
    app.add_routes([web.post("/say", say), web.post("/interrupt", interrupt)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner


async def run(url: str, port: int) -> None:
    """Serve until Ctrl+C."""
    runner = await serve(url, port)
    print(f"open http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description="A Pipecat bot with a face.")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the Rollcast server")
    parser.add_argument("--port", type=int, default=7860)
    given = parser.parse_args()
    asyncio.run(run(given.url, given.port))


if __name__ == "__main__":
    main()
