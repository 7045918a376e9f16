"""`rollcast serve`: the server, its address in plain sight and its page in the browser."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from ...models.own_models import DEFAULT_MODEL
from ...models.pipeline.heap import return_large_blocks
from ...models.pipeline.nursery import prepare_stages
from ...models.registry import preload
from ..config import ServerConfig, Turns
from ..descriptors import raise_descriptor_limit
from ..secret import Secret
from .failure import Failure, as_failure
from .frame_size import parse_size
from .options import (
    Attention,
    Decoder,
    Device,
    DType,
    Encoder,
    Lookahead,
    Quantize,
    Size,
    Stages,
    Steps,
    Threads,
    TinyDecoder,
    Weights,
    check_model,
)
from .room import check_room
from .step_list import parse_steps
from .welcome import greet


def serve(
    host: Annotated[
        str,
        typer.Option(help="Address to bind (::, for IPv6 and IPv4); others need --token."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535)] = 8000,
    model: Annotated[
        list[str] | None, typer.Option(help="A name of `rollcast models`; may be repeated.")
    ] = None,
    weights: Weights = None,
    size: Size = None,
    device: Device = None,
    dtype: DType = None,
    quantize: Quantize = None,
    attention: Attention = None,
    steps: Steps = None,
    decoder: Decoder = None,
    tiny_decoder: TinyDecoder = None,
    encoder: Encoder = None,
    lookahead: Lookahead = None,
    threads: Threads = None,
    stages: Stages = None,
    token: Annotated[
        str | None, typer.Option(envvar="ROLLCAST_TOKEN", help="What clients must know.")
    ] = None,
    max_sessions: Annotated[
        int | None, typer.Option(min=1, help="Streams at once; by default as many as fit.")
    ] = None,
    turns: Annotated[
        Turns,
        typer.Option(help="How streams of a model share it; auto: staggered, batched if better."),
    ] = "auto",
    max_kbps: Annotated[int | None, typer.Option(help="Highest video bitrate per stream.")] = None,
    max_per_client: Annotated[
        int | None,
        typer.Option(min=1, help="Streams at once of one address, or subject of tokens."),
    ] = None,
    keep_quality: Annotated[
        bool,
        typer.Option("--keep-quality", help="Stutter on a busy machine, and give nothing up."),
    ] = False,
    max_waiting: Annotated[
        int, typer.Option(min=0, help="Who may wait for a place where all are taken; 0: nobody.")
    ] = 32,
    max_waiting_per_client: Annotated[
        int, typer.Option(min=1, help="Those of one address, or subject of tokens.")
    ] = 8,
    max_wait: Annotated[
        float, typer.Option(min=1, help="Seconds after which who waits is sent away.")
    ] = 300.0,
    max_duration: Annotated[
        float | None, typer.Option(min=1, help="Seconds after which a stream ends.")
    ] = None,
    max_viewers: Annotated[
        int, typer.Option(min=0, help="Who may watch a stream by a share link; 0: nobody.")
    ] = 64,
    max_viewers_per_address: Annotated[
        int, typer.Option(min=0, help="Those of one address, of all streams together.")
    ] = 64,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds in which a lost connection may resume.")
    ] = 30.0,
    record: Annotated[
        Path | None, typer.Option(help="A folder for logs of all streams, see `rollcast replay`.")
    ] = None,
    record_mb: Annotated[
        int, typer.Option(min=1, help="Megabytes of logs; the oldest make room.")
    ] = 1000,
    record_asked: Annotated[
        bool,
        typer.Option("--record-asked", help="Only logs of streams whose client asks for one."),
    ] = False,
    recordings: Annotated[
        Path | None, typer.Option(help="A folder for films of all streams: MP4, or WebM.")
    ] = None,
    recordings_mb: Annotated[
        int, typer.Option(min=1, help="Megabytes of films; the oldest make room.")
    ] = 10_000,
    recordings_minutes: Annotated[
        float, typer.Option(min=0.1, help="After which a film goes on in another file.")
    ] = 60.0,
    recordings_asked: Annotated[
        bool,
        typer.Option("--recordings-asked", help="Only films of streams whose client asks for it."),
    ] = False,
    clip_seconds: Annotated[
        float, typer.Option(min=0, max=600, help="Kept of each stream, to be fetched as a clip.")
    ] = 0.0,
    park_memory: Annotated[
        int,
        typer.Option(
            min=0, help="Megabytes for streams that stand still while others wait; 0: none."
        ),
    ] = 512,
    park_dir: Annotated[
        Path | None, typer.Option(help="A folder for those that do not fit in that memory.")
    ] = None,
    park_disk: Annotated[int, typer.Option(min=1, help="Megabytes in that folder.")] = 10_000,
    park_after: Annotated[
        float, typer.Option(min=0, help="Seconds for which such a stream keeps its place.")
    ] = 5.0,
    self_signed: Annotated[
        bool, typer.Option("--self-signed", help="TLS with a certificate made here.")
    ] = False,
    tls_cert: Annotated[Path | None, typer.Option(help="TLS certificate chain (PEM).")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="TLS key (PEM).")] = None,
    tls_name: Annotated[
        list[str] | None, typer.Option(help="Further name or address in --self-signed.")
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="Further Host name, say behind a proxy.")
    ] = None,
    allow_origin: Annotated[
        list[str] | None, typer.Option(help="Further Origin of pages, like https://a.example.")
    ] = None,
    trust_proxy: Annotated[
        list[str] | None,
        typer.Option(help="Address of a proxy that sets X-Forwarded-For."),
    ] = None,
    webrtc: Annotated[
        bool, typer.Option(help="Streams over WebRTC too, where rollcast[webrtc] is installed.")
    ] = True,
    webrtc_address: Annotated[
        list[str] | None,
        typer.Option(help="Address of this machine for WebRTC; by default that of --host."),
    ] = None,
    ice_server: Annotated[
        list[str] | None, typer.Option(help="Like stun:a.example:3478 or turn:a.example.")
    ] = None,
    ice_username: Annotated[str | None, typer.Option(help="Of the TURN servers.")] = None,
    ice_credential: Annotated[
        str | None, typer.Option(envvar="ROLLCAST_ICE_CREDENTIAL", help="Of the TURN servers.")
    ] = None,
    no_open: Annotated[bool, typer.Option("--no-open", help="Leave the browser alone.")] = False,
    log_format: Annotated[Literal["console", "json"], typer.Option()] = "console",
    log_level: Annotated[Literal["debug", "info", "warning", "error"], typer.Option()] = "info",
) -> None:
    """Serve the page and the streams until interrupted."""
    for name in model or ():
        check_model(name)
    with as_failure():
        config = ServerConfig(
            host=host,
            port=port,
            models=tuple(model or (DEFAULT_MODEL,)),
            weights=tuple(weights or ()),
            size=None if size is None else parse_size(size),
            device=device,
            dtype=dtype,
            quantize=quantize,
            attention=attention,
            steps=None if steps is None else parse_steps(steps),
            decoder=decoder,
            tiny_decoder=tiny_decoder,
            encoder=encoder,
            lookahead_ms=lookahead,
            threads=threads,
            stages=stages,
            token=None if token is None else Secret(token),
            max_sessions=max_sessions,
            turns=turns,
            max_kbps=max_kbps,
            max_per_client=max_per_client,
            keep_quality=keep_quality,
            max_waiting=max_waiting,
            max_waiting_per_client=max_waiting_per_client,
            max_wait_s=max_wait,
            max_duration_s=max_duration,
            max_viewers=max_viewers,
            max_viewers_per_address=max_viewers_per_address,
            grace_s=grace,
            record_dir=record,
            record_mb=record_mb,
            record_asked=record_asked,
            recordings_dir=recordings,
            recordings_mb=recordings_mb,
            recordings_minutes=recordings_minutes,
            recordings_asked=recordings_asked,
            clip_s=clip_seconds,
            park_memory_mb=park_memory,
            park_dir=park_dir,
            park_disk_mb=park_disk,
            park_after_s=park_after,
            self_signed=self_signed,
            tls_cert=tls_cert,
            tls_key=tls_key,
            tls_names=tuple(tls_name or ()),
            allowed_hosts=tuple(allow_host or ()),
            allowed_origins=tuple(allow_origin or ()),
            trusted_proxies=tuple(trust_proxy or ()),
            webrtc=webrtc,
            webrtc_addresses=tuple(webrtc_address or ()),
            ice_servers=tuple(ice_server or ()),
            ice_username=ice_username,
            ice_credential=None if ice_credential is None else Secret(ice_credential),
            log_format=log_format,
            log_level=log_level,
        )
        if stages is not None and _is_stage_of_another(stages):
            return
        check_room(config)
        _run(config, open_browser=not no_open)


def _is_stage_of_another(stages: int) -> bool:
    """Whether torchrun made this process one of a pipeline's further stages; if so, it was one."""
    from ...models.pipeline.agent import keep_stage
    from ...models.pipeline.cluster import Cluster

    cluster = Cluster.of_environment(os.environ, stages)
    if cluster is None or cluster.rank == 0:
        return False
    keep_stage(cluster.address, cluster.key, cluster.rank)
    return True


def _run(config: ServerConfig, *, open_browser: bool) -> None:
    return_large_blocks()
    raise_descriptor_limit()
    failures: list[str] = []
    # Ctrl+C is how one stops it, so it is no failure.
    with listen(config) as listener, suppress(KeyboardInterrupt):
        prepare_stages([module for name in config.models for module in preload(name)])
        # only now: what is not begun yet is imported beside the web framework
        from ..web.app import serve as run

        run(
            config,
            listener,
            on_ready=partial(greet, config, open_browser=open_browser),
            on_failed=failures.append,
        )
    if failures:
        raise Failure(
            f"the model could not be loaded: {failures[0]}",
            hint="`rollcast doctor` says more; docs/models.md tells of the weights.",
        )


def listen(config: ServerConfig) -> socket.socket:
    """A socket at the server's address, before models are loaded: nobody else can be greeted.

    Raises Failure if the address cannot be bound.
    """
    from ..web.listener import open_listener

    try:
        return open_listener(config.host, config.port)
    except OSError as error:
        raise Failure(
            f"cannot listen on {config.host} port {config.port}: {error.strerror}",
            hint="Choose another --port, or stop what runs there.",
        ) from error
