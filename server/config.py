"""What an operator decides: one frozen value, checked when it is built."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..models.devices import check_device_name
from .access import host_name, page_origin, usable_token
from .protocol.limits import HELLO_TIMEOUT_S, MAX_KBPS, MIN_KBPS
from .secret import Secret

Turns = Literal["auto", "sliced", "staggered", "batched"]
"""How streams of one model share it: chunk by chunk as they fall due, in turns, or in batches."""
_NOT_NEGATIVE = (
    *("hello_timeout_s", "grace_s", "idle_timeout_s", "send_timeout_s", "drain_s"),
    *("max_waiting", "max_waiting_per_client", "max_wait_s"),
    *("unwatched_s", "max_viewers", "max_viewers_per_address", "record_mb"),
    *("recordings_mb", "recordings_minutes", "clip_s"),
    *("park_memory_mb", "park_disk_mb", "park_after_s"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """Settings of one server process.

    `models` are names of `models.registry`; `weights` are where the files of those that need some
    are, `size` the width and height of their frames (None: their own), `dtype`, `quantize` and
    `attention` their types of numbers (None: what suits the machine, and no 8 bits), `steps` those
    of each chunk (None: their own), `decoder` and `encoder` files
    whose decoder and encoder take the place of their VAE's, `tiny_decoder` one that is used where
    there is no time for that, `lookahead_ms` how far ahead speech is
    heard (None: as they say), `device` where they compute (None: on a
    GPU if there is one); `threads` the CPU threads of the model (None: its own choice);
    `stages` processes share the steps of one model (None: a thread runs it); `max_sessions` None
    means as many as are measured to fit. One client, which is the subject of its token, else its
    address, has at most `max_per_client` streams, none lasts longer than `max_duration_s`, and one
    that was not watched or spoken to for `unwatched_s` gives its place to who waits. By share
    links at most `max_viewers` watch a stream, `max_viewers_per_address` of one address in all.
    Where all places are taken, `max_waiting` clients wait for one, `max_waiting_per_client` of one
    client, none longer than `max_wait_s`. With `keep_quality` streams give nothing up while the
    machine is too slow for all of them.
    With `fleet_key` the server is a replica of a fleet, called `name`: streams are opened by the
    fleet's gateways alone, which are told what is needed to go on elsewhere.
    Logs of streams are written to `record_dir`, which holds at most `record_mb` megabytes (1e6
    bytes), with `record_asked` only of those whose client asks for it; films likewise to
    `recordings_dir`, in files of `recordings_minutes`. Of the last `clip_s` seconds of its stream a
    client may fetch a clip.
    A stream that stands still for `park_after_s` gives its place to who waits: it is parked in
    `park_memory_mb` megabytes of memory, or in `park_disk_mb` of files in `park_dir`; without
    memory none is.
    `trusted_proxies` are addresses whose X-Forwarded-For is believed. With `webrtc`, and where its
    library is installed, streams go over WebRTC as well: to `webrtc_addresses` of this machine
    (none: that of `host`), by way of `ice_servers`, of which those of turn: want `ice_username` and
    `ice_credential`. Without `tls_cert` and
    `tls_key`, `self_signed` makes a certificate for the host, `tls_names` and this machine. Hosts,
    origins and the token may be written as people paste them, and are kept as they are compared.
    Raises ValueError for settings that contradict each other or are not safe.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    models: tuple[str, ...] = ("pocket",)
    weights: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    dtype: str | None = None
    quantize: str | None = None
    attention: str | None = None
    steps: tuple[float, ...] | None = None
    decoder: Path | None = None
    tiny_decoder: Path | None = None
    encoder: Path | None = None
    lookahead_ms: int | None = None
    device: str | None = None
    threads: int | None = None
    stages: int | None = None
    max_sessions: int | None = None
    max_kbps: int | None = None
    max_lead_chunks: float = 1.7
    turns: Turns = "auto"
    hello_timeout_s: float = HELLO_TIMEOUT_S
    grace_s: float = 30.0
    idle_timeout_s: float = 60.0
    send_timeout_s: float = 5.0
    drain_s: float = 5.0
    max_per_client: int | None = None
    keep_quality: bool = False
    max_waiting: int = 32
    max_waiting_per_client: int = 8
    max_wait_s: float = 300.0
    max_viewers: int = 64
    max_viewers_per_address: int = 64
    max_duration_s: float | None = None
    unwatched_s: float = 30.0
    trusted_proxies: tuple[str, ...] = ()
    token: Secret | None = None
    fleet_key: Secret | None = None
    name: str = ""
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    tls_cert: Path | None = None
    tls_key: Path | None = None
    self_signed: bool = False
    tls_names: tuple[str, ...] = ()
    webrtc: bool = True
    webrtc_addresses: tuple[str, ...] = ()
    ice_servers: tuple[str, ...] = ()
    ice_username: str | None = None
    ice_credential: Secret | None = None
    state_dir: Path | None = None
    record_dir: Path | None = None
    record_mb: int = 1000
    record_asked: bool = False
    recordings_dir: Path | None = None
    recordings_mb: int = 10_000
    recordings_minutes: float = 60.0
    recordings_asked: bool = False
    clip_s: float = 0.0
    park_memory_mb: int = 512
    park_dir: Path | None = None
    park_disk_mb: int = 10_000
    park_after_s: float = 5.0
    log_format: Literal["console", "json"] = "console"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    def __post_init__(self) -> None:
        if not self.models:
            raise ValueError("models is empty: name at least one model")
        if not 0 <= self.port <= 65_535:
            raise ValueError(f"port must be in 0..65535, got {self.port}")
        if self.stages is not None and (self.stages < 1 or len(self.models) != 1):
            raise ValueError(
                f"stages must be at least 1, for one model; got {self.stages} for "
                f"{len(self.models)} models"
            )
        if self.max_sessions is not None and self.max_sessions < 1:
            raise ValueError(f"max_sessions must be at least 1, got {self.max_sessions}")
        if self.max_per_client is not None and self.max_per_client < 1:
            raise ValueError(f"max_per_client must be at least 1, got {self.max_per_client}")
        if self.max_duration_s is not None and not self.max_duration_s > 0:
            raise ValueError(f"max_duration_s must be more than 0, got {self.max_duration_s}")
        if self.max_kbps is not None and not MIN_KBPS <= self.max_kbps <= MAX_KBPS:
            raise ValueError(f"max_kbps must be in {MIN_KBPS}..{MAX_KBPS}, got {self.max_kbps}")
        if not 1.5 <= self.max_lead_chunks <= 16:
            raise ValueError(f"max_lead_chunks must be in 1.5..16, got {self.max_lead_chunks}")
        for name in _NOT_NEGATIVE:
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.park_dir is not None and not (self.park_memory_mb and self.park_disk_mb):
            raise ValueError(
                "park_dir needs park_disk_mb, and park_memory_mb for what streams showed last; got "
                f"{self.park_disk_mb} and {self.park_memory_mb}"
            )
        self._check_device()
        self._check_access()
        self._check_ice()
        self._write_as_compared()

    def _check_device(self) -> None:
        if self.device is None:
            return
        check_device_name(self.device)
        if (self.stages or 1) > 1 and ":" in self.device:
            raise ValueError(
                f"device {self.device!r} with {self.stages} stages: each stage takes a GPU of its "
                "own; say cuda, and choose GPUs by CUDA_VISIBLE_DEVICES"
            )

    def _check_access(self) -> None:
        """Raise ValueError for certificates, tokens and addresses that do not go together."""
        for proxy in self.trusted_proxies:
            try:
                ipaddress.ip_network(proxy, strict=False)
            except ValueError as error:
                raise ValueError(
                    f"trusted_proxies are addresses or networks such as 10.0.0.0/8, got {proxy!r}"
                ) from error
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("a certificate needs its key: give both tls_cert and tls_key")
        if self.tls_cert is not None and self.self_signed:
            raise ValueError("give either a certificate or self_signed, not both")
        if self.token is None and self.fleet_key is None and not is_loopback(self.host):
            raise ValueError(
                f"binding {self.host} opens the server to the network and needs a token: "
                "set one, or bind 127.0.0.1"
            )

    def _check_ice(self) -> None:
        """Raise ValueError for addresses and servers that are none."""
        for address in self.webrtc_addresses:
            try:
                ipaddress.ip_address(address)
            except ValueError as error:
                raise ValueError(
                    f"webrtc_addresses are addresses of this machine, got {address!r}"
                ) from error
        for server in self.ice_servers:
            if server.partition(":")[0] not in ("stun", "stuns", "turn", "turns"):
                raise ValueError(
                    f"an ICE server is like stun:stun.example:3478 or turn:turn.example, "
                    f"got {server!r}"
                )
            if server.startswith("turn") and not (self.ice_username and self.ice_credential):
                raise ValueError(f"{server} wants ice_username and ice_credential")

    def _write_as_compared(self) -> None:
        """Bring names and the token into the form that requests have. Raises ValueError."""
        hosts = tuple(host_name(name) for name in self.allowed_hosts)
        origins = tuple(page_origin(origin) for origin in self.allowed_origins)
        object.__setattr__(self, "allowed_hosts", hosts)
        object.__setattr__(self, "allowed_origins", origins)
        if self.token is not None:
            object.__setattr__(self, "token", Secret(usable_token(self.token.reveal())))

    @property
    def reached_at(self) -> tuple[str, ...]:
        """The addresses that WebRTC peers are told; empty: all of this machine but loopback."""
        if self.webrtc_addresses:
            return self.webrtc_addresses
        try:
            address = ipaddress.ip_address(self.host)
        except ValueError:
            return ("127.0.0.1",) if is_loopback(self.host) else ()
        return () if address.is_unspecified else (str(address),)

    @property
    def tls(self) -> bool:
        """Whether the server speaks https and wss."""
        return self.self_signed or self.tls_cert is not None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server bound to `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
