"""Which provider of plain attention is the fastest here: a short race, decided once.

A race is held where a model is warmed up, before any stream. What it decides is kept on disk by
device and versions, because two processes must agree: the stages of a pipeline make the same
stream, and providers differ in the last bits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from .choices import ChoiceFile
from .providers import Provider, attention_by, installed, versions
from .reference import attention_ref

ROUNDS = 7
_WARM = 3
# Another than the usual provider has to be faster by more than two runs differ.
MARGIN = 0.03
# Two roundings to eight bits, as for every kernel; eleven bits keep it as well.
_LIMIT = 5e-3
_COMPARED = 128
"""Queries whose attention is compared with its definition."""

Call = Callable[[], object]
Clock = Callable[[Mapping[Provider, Call]], Mapping[Provider, float]]
"""Milliseconds of each of several calls."""


@dataclass(frozen=True, slots=True)
class AttentionShape:
    """The largest call that a model makes: `queries` x `keys`, `heads` of `head_dim`.

    Keys have `shared` heads.
    """

    heads: int
    shared: int
    head_dim: int
    queries: int
    keys: int
    dtype: torch.dtype


def decide(times: Mapping[Provider, float], usual: Provider) -> Provider:
    """The fastest of `times`; the `usual` one unless another is faster by more than `MARGIN`."""
    if not times:
        return usual
    best = min(times, key=lambda each: times[each])
    usual_ms = times.get(usual)
    if usual_ms is not None and times[best] > (1 - MARGIN) * usual_ms:
        return usual
    return best


def tuned(
    shape: AttentionShape,
    device: torch.device,
    usual: Provider,
    file: ChoiceFile,
    *,
    clock: Clock | None = None,
    providers: Iterable[Provider] | None = None,
) -> Provider:
    """The provider for calls like `shape`: what `file` has, or who wins a race.

    Raced are `providers`, by default all that are installed. Where the file cannot be written it is
    the `usual` one, since another process could come to another result.
    """
    raced = tuple(installed() if providers is None else providers)
    entry = _entry(shape, device)

    def race() -> tuple[Provider, dict[Provider, float]]:
        times = (clock or _device_clock)(working(shape, device, raced))
        return decide(times, usual), dict(times)

    try:
        return file.choice(entry, raced, race)
    except OSError:
        return usual


def working(
    shape: AttentionShape, device: torch.device, providers: Iterable[Provider]
) -> dict[Provider, Call]:
    """A call of each provider that is right for this shape and for windows not yet full."""
    sizes = [shape.keys, shape.queries, shape.keys - shape.queries // 3]
    inputs = [_drawn(shape, device, keys) for keys in sizes if keys > 0]
    found: dict[Provider, Call] = {}
    for provider in providers:
        if all(_is_right(provider, *each) for each in inputs):
            found[provider] = _call(provider, inputs[0])
    return found


def _call(provider: Provider, inputs: tuple[Tensor, Tensor, Tensor]) -> Call:
    return lambda: attention_by(provider, *inputs)


def _is_right(provider: Provider, query: Tensor, key: Tensor, value: Tensor) -> bool:
    try:
        made = attention_by(provider, query, key, value)[:, :, :_COMPARED].double()
    except Exception:
        # What packages raise for what they do not take is of any kind.
        return False
    group = query.shape[1] // key.shape[1]
    wide = (x.repeat_interleave(group, dim=1) for x in (key, value))
    wanted = attention_ref(query[:, :, :_COMPARED].double(), *wide)
    return bool((made - wanted).norm() <= _LIMIT * wanted.norm())


def _drawn(shape: AttentionShape, device: torch.device, keys: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries token by token, as a projection leaves them; keys head by head, as in a cache."""
    generator = torch.Generator(device).manual_seed(keys)

    def drawn(*size: int) -> Tensor:
        return torch.randn(1, *size, device=device, generator=generator).to(shape.dtype)

    query = drawn(shape.queries, shape.heads, shape.head_dim).transpose(1, 2)
    key, value = (drawn(shape.shared, keys, shape.head_dim) for _ in range(2))
    return query, key, value


def _device_clock(calls: Mapping[Provider, Call]) -> dict[Provider, float]:
    """Medians of a few rounds in which all take turns; on a GPU by its events."""
    on_gpu = torch.cuda.is_available()
    times: dict[Provider, list[float]] = {name: [] for name in calls}
    for number in range(_WARM + ROUNDS):
        for name, call in calls.items():
            took_ms = _event_ms(call) if on_gpu else _host_ms(call)
            if number >= _WARM:
                times[name].append(took_ms)
    return {name: median(each) for name, each in times.items()}


def _event_ms(call: Call) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    call()
    end.record()
    end.synchronize()
    return start.elapsed_time(end)


def _host_ms(call: Call) -> float:
    begun = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - begun)


def _entry(shape: AttentionShape, device: torch.device) -> str:
    """What a choice depends on, as one line."""
    named = str(device.type)
    if device.type == "cuda":
        named = torch.cuda.get_device_name(device)
    packages = ", ".join(f"{name} {found}" for name, found in versions().items() if found)
    kind = str(shape.dtype).removeprefix("torch.")
    return (
        f"{named}; {packages}; {kind}, {shape.queries} x {shape.keys}, {shape.heads} heads on "
        f"{shape.shared} of {shape.head_dim}"
    )
