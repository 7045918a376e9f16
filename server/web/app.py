"""The application: one FastAPI app around an engine, and `serve`, which runs it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI, WebSocket

from ...models.pipeline.batch_probe import IDLE_S
from ...models.pipeline.cluster import Cluster
from ...models.pipeline.executor import Executor
from ...models.pipeline.heap import return_unused
from ...models.pipeline.messages import ModelSpec
from ...models.pipeline.pipeline import Pipeline
from ...models.registry import MODEL_FACTORY, own_models, preload, prompt_reader, takes_steps
from ...models.wan.presets.text_prompt import EXAMPLES
from ...models.wan.text.reader import TextReader
from ..config import ServerConfig
from ..engine.engine import Engine
from ..engine.model_host import ModelHost
from ..logs import configure_logs, logger
from ..media.broadcast import Broadcast
from ..media.encoder import Encoders
from ..media.pictures import PictureReader
from ..media.workers import Workers
from ..metrics import Metrics
from ..protocol.hello import server_version
from ..recordings.recordings import Recordings
from ..stream_log.log_folder import LogFolder
from ..stream_log.machine import machine_of
from ..stream_log.recorded import Recorded
from ..stream_log.stream_logs import StreamLogs
from .admin import add_admin_routes
from .bounded_log import BoundedLog
from .client_socket import ClientSocket
from .connections import ConnectionLimits
from .draining_server import DrainingServer, draining_server
from .ending import ends_in_time
from .failed_logins import GUESSES, FailedLogins
from .handover import build_handover_router
from .pace import Allowance
from .paced_protocol import WIRE
from .page import CLIENT_DIR, PageFiles, SafeHeaders
from .peers import PeerLimits, Peers
from .rest import add_routes
from .services import Services
from .share_links import ShareLinks
from .tls import default_state_dir, own_names, self_signed
from .webrtc_routes import add_webrtc_routes
from .websocket import Connection

END_S = 10.0
"""After draining, until everything that was started has ended."""


def create_app(
    config: ServerConfig,
    hosts: Sequence[ModelHost],
    *,
    on_ready: Callable[[], None] | None = None,
    on_failed: Callable[[str], None] | None = None,
    peer_limits: PeerLimits | None = None,
    guesses: Allowance = GUESSES,
) -> FastAPI:
    """The app that serves these hosts' models; they start and stop with the app.

    `on_ready` is called once the models are loaded and warm, in a thread of its own, since it may
    block; `on_failed` with the reason if they cannot be loaded, on the event loop. So many wrong
    tokens of an address are looked at as `guesses` says.
    """
    engine = Engine(config, hosts, Metrics())
    log = BoundedLog("rollcast.access")
    encoders, workers = Encoders(), Workers(max(2, os.cpu_count() or 2))
    broadcast = Broadcast(encoders, workers, engine.metrics, engine.now_s)
    services = Services(
        engine=engine,
        encoders=encoders,
        workers=workers,
        pictures=PictureReader(),
        logins=FailedLogins(config, log, guesses),
        log=log,
        links=ShareLinks(config),
        broadcast=broadcast,
        recordings=Recordings(config, broadcast, encoders, engine.now_s),
    )

    peers = Peers(peer_limits or PeerLimits())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        engine.mind(lambda: "an encoder hangs" if workers.hung else "")
        engine.mind(lambda: "" if encoders.usable(engine.now_s()) else "no encoder works")
        engine.start()
        told = asyncio.create_task(_tell(engine, on_ready, on_failed), name="tell")
        yield
        told.cancel()
        await peers.close()
        await engine.stop()
        await services.recordings.close()
        await services.broadcast.close()
        workers.close()
        await services.pictures.close()

    app = FastAPI(
        title="rollcast",
        version=server_version(),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.engine = engine
    app.state.peers = peers
    app.add_middleware(SafeHeaders, config=config)
    # its own: those of a router that is included are built twice
    add_routes(app.router, engine, services.logins, services.recordings)
    add_admin_routes(app.router, engine, services.logins)
    add_webrtc_routes(app.router, services, peers)
    if config.fleet_key is not None:
        app.include_router(build_handover_router(engine, encoders, services.recordings))
    if CLIENT_DIR.is_dir():
        app.mount("/client", PageFiles(directory=CLIENT_DIR), name="client")

    @app.websocket("/v1/stream")
    async def stream(websocket: WebSocket) -> None:
        await websocket.accept()
        wire = websocket.scope[WIRE]
        socket = ClientSocket(websocket, wire, engine.metrics, engine.stalls, config.send_timeout_s)
        await Connection(socket, services).run()

    return app


async def _tell(
    engine: Engine, on_ready: Callable[[], None] | None, on_failed: Callable[[str], None] | None
) -> None:
    """Call whoever wants to know how the loading of the models ended."""
    await engine.settled.wait()
    if engine.health == "ready" and on_ready is not None:
        await asyncio.to_thread(on_ready)
    elif engine.health == "failed" and on_failed is not None:
        on_failed(engine.reason)


def build_server(
    config: ServerConfig,
    hosts: Sequence[ModelHost],
    *,
    on_ready: Callable[[], None] | None = None,
    on_failed: Callable[[str], None] | None = None,
    limits: ConnectionLimits | None = None,
    guesses: Allowance = GUESSES,
) -> DrainingServer:
    """A uvicorn server for `config` that has not been started; see `create_app` for the calls."""
    app = create_app(config, hosts, on_ready=on_ready, on_failed=on_failed, guesses=guesses)
    return draining_server(app, config, certificate_of(config), limits)


def serve(
    config: ServerConfig,
    listener: socket.socket,
    *,
    on_ready: Callable[[], None],
    on_failed: Callable[[str], None],
    end_s: float = END_S,
) -> None:
    """Load the models and serve on a listening socket until the process is told to stop.

    Then it ends within `end_s` after draining, whatever hangs.

    A server whose models cannot be loaded stops by itself, after it has called `on_failed`; see
    `create_app`. The socket is closed at the end.
    """

    def ready() -> None:
        on_ready()
        return_unused()

    def fail(reason: str) -> None:
        on_failed(reason)
        server.should_exit = True

    configure_logs(config.log_format, config.log_level)
    scheme = "https" if config.tls else "http"
    logger("rollcast").info("starting", url=f"{scheme}://{config.host}:{config.port}/")
    server = build_server(config, build_hosts(config), on_ready=ready, on_failed=fail)
    with ends_in_time(config.drain_s + end_s):
        server.run(sockets=[listener])


def build_hosts(config: ServerConfig) -> list[ModelHost]:
    """A host for each model, with the processes that the model runs in.

    Raises FileNotFoundError for files of a model that are missing.
    """
    readers = {name: prompt_reader(name, config.weights) for name in config.models}
    logs = None
    if config.record_dir is not None:
        folder = LogFolder(config.record_dir, config.record_mb * 1_000_000)
        logs = StreamLogs.of(folder, all_streams=not config.record_asked)
    return [
        ModelHost(name, _executor(config, name, reader, logs), reader=reader, logs=logs)
        for name, reader in readers.items()
    ]


def _executor(
    config: ServerConfig, name: str, reader: TextReader | None, logs: StreamLogs | None
) -> Callable[[], Executor]:
    """What makes the executor of a model, which writes its streams down in `logs`, if any."""
    make = partial(_pipeline, config, name, reader)
    if logs is None:
        return make
    threads = config.threads if config.stages is None else config.threads or 1
    machine = machine_of(name, config.weights, threads)
    arguments = _model_arguments(config, name) | {"threads": threads}
    kept: dict[str, Any] = {"model": name, "arguments": arguments, "machine": machine}
    return lambda: Recorded(make(), logs, **kept)


def _pipeline(config: ServerConfig, name: str, reader: TextReader | None) -> Pipeline:
    if reader is not None:
        # now, and by the process that stays: the model wants them when it is loaded
        for example in EXAMPLES:
            reader.get(example)
    stages = config.stages or 1
    threads = config.threads if config.stages is None else config.threads or 1
    arguments = _model_arguments(config, name) | {"threads": threads}
    spec = ModelSpec(MODEL_FACTORY, arguments, preload=preload(name))
    cluster = None if config.stages is None else Cluster.of_environment(os.environ, stages)
    if cluster is not None:
        return cluster.pipeline(spec)
    in_fleet = config.fleet_key is not None
    # where a stream may come at any moment that another replica has lost, nothing is measured then
    probe_after_s = 0.0 if in_fleet else IDLE_S
    return Pipeline(
        spec,
        stages,
        probe_after_s=probe_after_s,
        tells_snapshots=in_fleet,
        ready_soon=not in_fleet,
    )


def _model_arguments(config: ServerConfig, name: str) -> dict[str, Any]:
    """What `load_model` is told of a model, beside its threads."""
    if name in own_models():
        # those of a published model beside it are not its own
        tells = takes_steps(name) and set(config.models) <= set(own_models())
        return {"name": name} | ({"steps": config.steps} if config.steps and tells else {})
    return {
        "name": name,
        "weights": list(config.weights),
        "size": config.size,
        "dtype": config.dtype,
        "quantize": config.quantize,
        "attention": config.attention,
        "steps": config.steps,
        "device": config.device,
        "sessions": config.max_sessions or 1,
        "decoder": None if config.decoder is None else str(config.decoder),
        "tiny_decoder": None if config.tiny_decoder is None else str(config.tiny_decoder),
        "encoder": None if config.encoder is None else str(config.encoder),
        "lookahead_ms": config.lookahead_ms,
    }


def certificate_of(config: ServerConfig) -> tuple[Path, Path] | None:
    """The certificate chain and the key that a server shows, if it has any."""
    if config.tls_cert is not None and config.tls_key is not None:
        return config.tls_cert, config.tls_key
    if not config.self_signed:
        return None
    names = [*own_names(config.host), *config.allowed_hosts, *config.tls_names]
    return self_signed(config.state_dir or default_state_dir(), names)
