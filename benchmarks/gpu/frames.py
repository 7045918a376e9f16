"""Step 4: latents to frames to packets: layouts of the VAE, copies to the host, encoders."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...kernels.dispatch import yuv420
from ...models.download import downloaded
from ...models.wan.stream.decoders import decoded
from ...models.wan.stream.model import rgb_levels, yuv_levels
from .bench import Bench
from .compiles import wall_ms
from .random_model import Measures, random_decoder
from .step_process import NotHere

_FPS, _KBPS = 16, 4000
_FRAMES = 48


def run(bench: Bench) -> None:
    """Three latents, twelve frames of 480x832, in the middle of a stream."""
    for name, tiny in (("Wan VAE", False), ("tiny decoder", True)):
        measures = Measures(tiny=bench.rehearse, tiny_decoder=tiny)
        for last in (False, True):
            layout = "channels last" if last else "contiguous"
            bench.part(f"{name}, {layout}", partial(_decoder, bench, measures, last))
    bench.part("copies", lambda: _copies(bench))
    bench.part("encoders", lambda: _encoders(bench))


@torch.inference_mode()
def _decoder(bench: Bench, measures: Measures, last: bool) -> dict[str, Any]:
    decoder = random_decoder(measures.decoder(), bench.device, measures.dtype, channels_last=last)
    rows, columns = (4, 8) if bench.rehearse else (60, 104)
    latents = torch.randn(1, 3, 16, rows, columns, device=bench.device).to(measures.dtype)
    memory: dict[str, Tensor] = {}

    def chunk() -> None:
        for _ in decoded(decoder, latents, memory, yuv_levels):
            pass

    for _ in range(2):
        chunk()
    bench.peak_gb()
    return bench.clock(6, 1).apart(chunk) | {"peak_gb": bench.peak_gb()}


def _copies(bench: Bench) -> dict[str, Any]:
    """A chunk's frames to the host: as RGB from ordinary memory and pinned, and as YUV420."""
    height, width = (32, 64) if bench.rehearse else (480, 832)
    frames = torch.rand(12, 3, height, width, device=bench.device).mul_(2).sub_(1)
    frames = frames.to(torch.float32 if bench.rehearse else torch.bfloat16)
    levels = rgb_levels(frames)
    host = torch.empty(levels.shape, dtype=torch.uint8, pin_memory=bench.on_gpu)

    def pinned() -> None:
        host.copy_(levels, non_blocking=True)
        bench.synchronize()

    clock = bench.clock(20)
    found: dict[str, Any] = {
        "to RGB": clock.apart(lambda: rgb_levels(frames)),
        "RGB, ordinary": clock.apart(lambda: levels.cpu()),
        "RGB, pinned": clock.apart(pinned),
    }
    planes = yuv420(frames)
    found["YUV420, made on the device"] = clock.apart(lambda: yuv420(frames))
    found["YUV420, pinned"] = clock.apart(lambda: downloaded(planes).wait())
    return found


def _encoders(bench: Bench) -> dict[str, Any]:
    """Milliseconds a frame in each encoder that opens here, and with several at once."""
    for package in ("av", "simplejpeg"):
        if find_spec(package) is None:
            raise NotHere(f"needs {package}")
    if bench.encoders is None:
        raise NotHere("needs the server's encoders")
    width, height = (64, 32) if bench.rehearse else (832, 480)
    count = 4 if bench.rehearse else _FRAMES
    noise = np.random.default_rng(0)
    # something moves in front of something that does not
    still = noise.integers(0, 255, (height, width, 3), np.uint8)
    clip = [np.roll(still, 3 * number, axis=1) for number in range(4)]

    def encode(opens: Callable[..., Any]) -> None:
        encoder = opens(width, height, _FPS, _KBPS)
        for number in range(count):
            encoder.encode(clip[number % len(clip)], number * 1e6 / _FPS, key=number == 0)

    found: dict[str, Any] = {}
    for name, opens in bench.encoders().items():
        if opens is None:
            found[name] = {"skipped": "does not open here"}
            continue
        for at_once in (1,) if bench.rehearse else (1, 2, 4):
            found[f"{name}, {at_once} at once"] = _each_ms(encode, opens, at_once, count)
    return found


def _each_ms(
    encode: Callable[[Any], None], opens: Callable[..., Any], at_once: int, count: int
) -> dict[str, float]:
    begun = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(encode, [opens] * at_once))
    took_ms = wall_ms(begun)
    return {"ms_a_frame": took_ms / count, "fps_in_all": 1e3 * at_once * count / took_ms}
