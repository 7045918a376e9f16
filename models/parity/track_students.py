"""Golden cases of FastVideo's causal TrackWan: an image whose points are dragged.

Either the tracks are given as they are, or the events of a live session that make them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..sampling.chunk_maker import ChunkMaker
from ..sampling.recipe import Recipe
from ..student.blocks import float32_sinusoid
from ..student.causal_student import CausalStudent
from ..student.conditioning import Conditions
from ..student.config import CacheConfig, RopeFamily, StudentConfig
from ..wan.handle_grid import Change, HandleGrid, Point, Sample, Tracks
from ..wan.image_condition import MASK_CHANNELS, image_channels
from ..wan.number_types import NumberTypes
from ..wan.track_map import first_maps, nearest_cell_track_map
from .published import (
    EXACT,
    check_shape,
    difference,
    diffusers_shape,
    golden_student,
    recipe_of,
    recorded_noise,
    weights_of,
)


def track_student_differences(
    case: dict[str, Any], tensors: dict[str, Tensor], types: NumberTypes = EXACT
) -> tuple[float, ...]:
    """Greatest absolute difference of each chunk's latents, then of all that is known of tracks.

    Raises ValueError on other shapes, and for events that take effect otherwise than recorded.
    """
    config = track_student_config(case)
    student = golden_student(config, weights_of(tensors), types)
    recipe, noise = track_recipe(case), tensors["in/noise"]
    differences: list[float] = []
    if "events" in case:
        points, visibility = _live_tracks(case, tensors)
        differences.append(difference(points, tensors["out/track_points"]))
        differences.append(difference(visibility, tensors["out/track_visibility"]))
    else:
        points, visibility = tensors["in/track_points"], tensors["in/track_visibility"]
    ids, rows, columns = tensors["in/track_ids"], noise.shape[3], noise.shape[4]
    dim = config.track_channels
    maps = torch.stack(
        [
            nearest_cell_track_map(*row, rows=rows, columns=columns, dim=dim)
            for row in zip(points, visibility, ids, strict=True)
        ]
    )
    differences += _track_differences(student, maps, ids, tensors)
    maker = ChunkMaker(student, recipe, track_cache(case))
    made = _generate(maker, maps.to(types.dtype), tensors)
    expected = tensors["out/latents"]
    check_shape(made, expected)
    chunks = recipe.chunks(noise.shape[1])
    return (*(difference(made[:, c], expected[:, c]) for c in chunks), *differences)


def _generate(maker: ChunkMaker, maps: Tensor, tensors: dict[str, Tensor]) -> Tensor:
    """All latents [B, F, C, h, w] under track maps [B, T, dim, h, w] of every picture."""
    noise, renoise = tensors["in/noise"], recorded_noise(tensors)
    prompt = maker.encode(tensors["in/prompt_embeds"], tensors["in/clip_embeds"])
    condition = tensors["in/image_latent"].transpose(1, 2)[:, :, MASK_CHANNELS:]
    batch, _, _, height, width = noise.shape
    stream = maker.start(height=height, width=width, batch=batch)
    stride = maker.student.config.track_stride
    made: list[Tensor] = []
    for chunk in maker.recipe.chunks(noise.shape[1]):
        # Latent frame 0 shows one picture, every other one as many as the stride.
        shown = maps[:, max(0, stride * (chunk.start - 1) + 1) : stride * (chunk.stop - 1) + 1]
        conditions = Conditions(
            channels=image_channels(condition[:, chunk], chunk.start),
            tracks=torch.stack([first_maps(row, stride) for row in shown]),
        )
        latents = maker.next(stream, noise[:, chunk], prompt, conditions, renoise=renoise)
        assert latents is not None, "only a joint window fills first"
        made.append(latents)
    return torch.cat(made, dim=1)


def _track_differences(
    student: CausalStudent, maps: Tensor, ids: Tensor, tensors: dict[str, Tensor]
) -> list[float]:
    """Differences of the embeddings of ids, of single maps, and of what the head makes of all."""
    differences: list[float] = []
    if "out/track_phi" in tensors:
        made = float32_sinusoid(ids, maps.shape[2])
        differences.append(difference(made, tensors["out/track_phi"]))
    for name, dense in tensors.items():
        if name.startswith("out/track_dense/"):
            differences.append(difference(maps[:, int(name.rsplit("/", 1)[1])], dense))
    if "out/track_map" in tensors and student.track_head is not None:
        padded = torch.stack([first_maps(row, student.config.track_stride) for row in maps])
        weight = next(student.track_head.parameters())
        made = student.track_head(padded.to(weight)).transpose(1, 2)
        differences.append(difference(made, tensors["out/track_map"]))
    return differences


def _live_tracks(case: dict[str, Any], tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Points [1, T, N, 2] and visibility [1, T, N] that a session's events make."""
    start, blocks = case["start"], case["blocks"]
    grid = HandleGrid(
        _handles(start["handles"]), radius=float(start["radius"]), size=int(case["grid_size"])
    )
    stride = int(case["config"]["track_config"]["vae_temporal_compression"])
    made: list[Tracks] = []
    for index, block in enumerate(blocks):
        began = float(blocks[max(0, index - 1)]["started_ms"])
        for event in case["events"].get(str(index), []):
            accepted = grid.ask(_change(event), began)
            if accepted != event.get("accepted", True):
                raise ValueError(f"revision {event['revision']} was accepted: {accepted}")
        if index == 0:
            made.append(grid.hold(stride * (block["latent_frames"] - 1) + 1))
        else:
            pictures, ended = stride * block["latent_frames"], float(block["started_ms"])
            made.append(grid.render(pictures, start_ms=began, end_ms=ended))
        now = grid.applied_revision, grid.radius, sorted(grid.handles)
        wanted = block["applied_revision"], block["radius"], sorted(block["active"])
        if now != wanted:
            raise ValueError(f"revision, radius, handles {now} in block {index}, not {wanted}")
    kept = tensors["in/track_kept"].clone()
    for handle in _handles(start["handles"]).values():
        kept[grid.nearest(handle)] = 1.0
    if not torch.equal(kept, tensors.get("out/track_kept", kept)):
        raise ValueError("the points that are kept differ from out/track_kept")
    points = torch.cat([torch.from_numpy(tracks.points) for tracks in made])
    visibility = torch.cat([torch.from_numpy(tracks.visibility) for tracks in made])
    return points[None], (visibility * kept)[None]


def _change(event: dict[str, Any]) -> Change:
    """An event as a change."""
    return Change(
        revision=int(event["revision"]),
        radius=event.get("radius"),
        handles=None if event.get("handles") is None else _handles(event["handles"]),
        remove=tuple(event.get("remove") or ()),
        add=_handles(event.get("add") or []),
        samples=tuple(
            Sample(sample["id"], _point(sample), sample.get("timestamp_ms", sample.get("time_ms")))
            for sample in event.get("samples") or ()
        ),
    )


def _handles(listed: Sequence[dict[str, Any]]) -> dict[str, Point]:
    return {handle["id"]: _point(handle) for handle in listed}


def _point(values: dict[str, Any]) -> Point:
    return float(values["x"]), float(values["y"])


def track_recipe(case: dict[str, Any]) -> Recipe:
    """How a case's chunks are sampled. Raises ValueError for blocks of other lengths."""
    sizes = case.get("block_sizes") or [block["latent_frames"] for block in case["blocks"]]
    block = int(case["config"]["num_frames_per_block"])
    if any(size != block for size in sizes[1:]):
        raise ValueError(f"blocks of {sizes} frames; expected {block} from the second on")
    return recipe_of(
        case,
        chunk_frames=block,
        first_frames=int(sizes[0]),
        whole_times=bool(case.get("integer_model_timesteps", False)),
    )


def track_student_config(case: dict[str, Any]) -> StudentConfig:
    """The student of a case's published configuration. Raises ValueError for unknown RoPE."""
    published = case["config"]
    tracks = published["track_config"]
    ropes: dict[str, RopeFamily] = {"relativistic": "slot"}
    policy = published["rope_cache_policy"]
    if policy not in ropes:
        raise ValueError(f"rope_cache_policy {policy!r}; expected one of {list(ropes)}")
    shape = diffusers_shape(published)
    shape["extra_channels"] -= tracks["track_channels"]
    return StudentConfig(
        **shape,
        text_len=published["text_len"],
        rope=ropes[policy],
        track_channels=tracks["id_dim"],
        track_features=tracks["track_channels"],
        track_stride=tracks["vae_temporal_compression"],
        track_bias=tracks["use_bias"],
    )


def track_cache(case: dict[str, Any]) -> CacheConfig:
    """The cache of a case."""
    published = case["config"]
    sinks = published["sink_size"]
    return CacheConfig(window_frames=published["local_attn_size"] - sinks, sink_frames=sinks)
