"""Plans of memory: against what really lives at once, and against what is published of sizes."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from rollcast.models import picture
from rollcast.models.contract import Controls, Economy, StreamRequest
from rollcast.models.picture import sample
from rollcast.models.registry import load_model
from rollcast.models.staged_model import Row
from rollcast.models.wan.config_file import student_config
from rollcast.models.wan.locate import locate
from rollcast.models.wan.presets.catalogue import preset_named
from rollcast.models.wan.presets.start_image import StartImage
from rollcast.models.wan.presets.text_prompt import TextPrompt
from rollcast.models.wan.stream.live_bytes import LiveBytes
from rollcast.models.wan.stream.memory_plan import (
    MemoryPlan,
    plan_memory,
    quantized,
    smaller_size,
)
from rollcast.models.wan.stream.model import WanModel
from rollcast.models.wan.tiny_decoder import TinyDecoder, TinyDecoderConfig
from rollcast.models.wan.tiny_encoder import TinyEncoder, TinyEncoderConfig
from rollcast.models.wan.vae_files import VAE_DECODER
from rollcast.models.warm_up import still_video

from ....variants import some_of
from ..conftest import PROMPTS, FolderOf

pytestmark = pytest.mark.slow

SIZE = (96, 64)
KINDS = {
    "self-forcing": 1,
    "reward-forcing": 2,
    "longlive": 3,
    "causal-forcing-2-step": 2,
    "sgf-plus": 2,
    "rolling-forcing": 1,
    "longlive-2": 2,
}
"""How many streams each makes."""


@cache
def full(name: str) -> MemoryPlan:
    """A preset's plan as published."""
    return plan_memory(preset_named(name))


def planned(
    name: str, folder: Path, decoder: Path | None = None, *, tiny: Path | None = None
) -> MemoryPlan:
    preset = preset_named(name)
    files = locate(preset, [str(folder)])
    return plan_memory(
        preset,
        student=student_config(preset, files.config),
        decoder=VAE_DECODER.config_in(decoder or files.vae, preset.latents),
        tiny_decoder=None if tiny is None else VAE_DECODER.config_in(tiny, preset.latents),
        size=SIZE,
        dtype=torch.float32,
        reserve=0,
        files=files,
    )


def loaded(
    name: str,
    folder: Path,
    sessions: int,
    decoder: Path | None = None,
    *,
    tiny: Path | None = None,
) -> WanModel:
    model = load_model(
        name,
        threads=1,
        weights=[str(folder)],
        size=SIZE,
        sessions=sessions,
        decoder=None if decoder is None else str(decoder),
        tiny_decoder=None if tiny is None else str(tiny),
    )
    assert isinstance(model, WanModel)
    return model


@pytest.mark.parametrize("name", some_of(KINDS, "reward-forcing", "rolling-forcing"))
def test_a_plan_is_what_lives_at_once(name: str, weighed_folder_of: FolderOf) -> None:
    """Within 5%, of a model that is loaded and makes chunks for its streams in turn."""
    folder, sessions, chunks = weighed_folder_of(name), KINDS[name], 3
    image = picture.sample(64) if preset_named(name).stated(StartImage) else None
    live = LiveBytes()
    with live:
        model = loaded(name, folder, sessions)
        states = [model.start(StreamRequest(seed=k, image=image)) for k in range(sessions)]
        for chunk in range(chunks):
            for number, state in enumerate(states):
                prompt = PROMPTS[number] if chunk == chunks - 2 else None
                model.step(state, Controls(prompt=prompt))
    assert live.peak == pytest.approx(planned(name, folder).total(sessions), rel=0.05)


@pytest.mark.long
@pytest.mark.parametrize("name", ["causal-forcing-framewise", "sgf-plus", "longlive-2"])
def test_a_plan_holds_for_streams_that_start_from_images(
    name: str, weighed_folder_of: FolderOf
) -> None:
    """Within 5%, of two streams, the encoder and another image among them."""
    folder, live = weighed_folder_of(name), LiveBytes()
    with live:
        model = loaded(name, folder, 2)
        states = [model.start(StreamRequest(seed=k, image=sample(128, 96))) for k in range(2)]
        for chunk in range(3):
            for number, state in enumerate(states):
                prompt = PROMPTS[number] if chunk == 1 else None
                image = sample(96, 96) if chunk == 2 else None
                model.step(state, Controls(prompt=prompt, image=image))
    plan = planned(name, folder)
    assert plan.conditioning > 0
    assert live.peak == pytest.approx(plan.total(2), rel=0.05)


@pytest.mark.long
@pytest.mark.parametrize("name", ["longlive", "longlive-2"])
def test_a_plan_holds_for_a_tiny_decoder(
    name: str, weighed_folder_of: FolderOf, tmp_path: Path
) -> None:
    """Within 5%, and far from that of the VAE's own."""
    latents, file = preset_named(name).latents, tmp_path / "taew.pth"
    patch = latents.pixels // 8
    config = TinyDecoderConfig(latents.channels, widths=(96, 64, 48, 48), patch=patch)
    torch.save(TinyDecoder(config).state_dict(), file)
    folder, live = weighed_folder_of(name), LiveBytes()
    with live:
        model = loaded(name, folder, 2, file)
        states = [model.start(StreamRequest(seed=k)) for k in range(2)]
        for _ in range(3):
            for state in states:
                model.step(state, Controls())
    plan, own = planned(name, folder, file), planned(name, folder)
    assert live.peak == pytest.approx(plan.total(2), rel=0.05)
    assert plan.decoder != own.decoder and plan.decoder_state != own.decoder_state


def test_a_plan_counts_both_decoders_while_one_takes_over(
    weighed_folder_of: FolderOf, tmp_path: Path
) -> None:
    """Within 5%, of a stream that both of them see."""
    name, file = "self-forcing", tmp_path / "taew.pth"
    torch.save(TinyDecoder(TinyDecoderConfig(widths=(96, 64, 48, 48))).state_dict(), file)
    folder, live = weighed_folder_of(name), LiveBytes()
    with live:
        model = loaded(name, folder, 1, tiny=file)
        state = model.start(StreamRequest())
        for chunk in range(3):
            model.step(state, Controls(economy=Economy(tiny_decoder=chunk > 0)))
    plan, own = planned(name, folder, tiny=file), planned(name, folder)
    assert live.peak == pytest.approx(plan.total(1), rel=0.05)
    assert live.peak > 1.1 * own.total(1)
    alone = planned(name, folder, file)
    for part in ("decoder", "decoder_state"):
        assert getattr(plan, part) == getattr(own, part) + getattr(alone, part)


def test_a_plan_holds_for_a_tiny_encoder(weighed_folder_of: FolderOf, tmp_path: Path) -> None:
    """Within 5%, of a model that redraws video; one that looks at nothing refuses it."""
    name, file = "stream-diffusion-v2", tmp_path / "taew.pth"
    preset, folder = preset_named(name), weighed_folder_of(name)
    torch.save(TinyEncoder(TinyEncoderConfig(width=16)).state_dict(), file)
    live = LiveBytes()
    with live:
        model = load_model(
            name, threads=1, weights=[str(folder)], size=SIZE, sessions=2, encoder=str(file)
        )
        assert isinstance(model, WanModel)
        states = [model.start(StreamRequest(seed=k)) for k in range(2)]
        for chunk in range(3):
            for state in states:
                # a chunk that starts a stream anew has most frames
                model.step(state, Controls(video=still_video(model.info), reset=chunk == 2))
    files = locate(preset, [str(folder)])
    parts = {
        "student": student_config(preset, files.config),
        "decoder": VAE_DECODER.config_in(files.vae, preset.latents),
        "size": SIZE,
        "dtype": torch.float32,
        "reserve": 0,
        "files": files,
    }
    plan, own = plan_memory(preset, encoder=file, **parts), plan_memory(preset, **parts)
    assert live.peak == pytest.approx(plan.total(2), rel=0.05)
    assert plan.conditioning != own.conditioning
    with pytest.raises(ValueError, match="takes no image or video: leave the encoder away"):
        load_model("longlive", encoder=str(file))


def test_what_lives_at_once_is_what_the_allocator_gave(weighed_folder_of: FolderOf) -> None:
    """Within 5%, by torch's own record of its allocator, of all but the decoder.

    A CPU's convolutions unfold what they see, and its attention has a scratch for each thread:
    these are their own affair.
    """
    folder, plan = weighed_folder_of("longlive"), planned("longlive", weighed_folder_of("longlive"))
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        model = loaded("longlive", folder, 1)
        state = model.start(StreamRequest())
        for chunk in range(6):
            prompt = PROMPTS[0] if chunk == 5 else None
            made, latents = model.prepare(state, Controls(prompt=prompt)), None
            for call in range(5):
                (latents,) = model.denoise([Row(made, call, latents, state.caches[0])])
    assert recorded.profiler is not None and recorded.profiler.kineto_results is not None
    events = sorted(recorded.profiler.kineto_results.events(), key=lambda event: event.start_ns())
    now = peak = attention_ends_ns = 0
    for event in events:
        if event.name() == "aten::_scaled_dot_product_flash_attention_for_cpu":
            attention_ends_ns = event.start_ns() + event.duration_ns()
        if event.name() == "[memory]":
            now += event.nbytes()  # pyright: ignore[reportAttributeAccessIssue]
            peak = max(peak, now if event.start_ns() > attention_ends_ns else 0)
    wanted = plan.weights + plan.cache + plan.denoising + 2 * plan.text
    assert peak == pytest.approx(wanted, rel=0.05)


@pytest.mark.parametrize("name", ["self-forcing", "reward-forcing", "longlive"])
def test_full_size_plans_agree_with_published_sizes(name: str) -> None:
    preset = preset_named(name)
    plan = full(name)
    tokens, layers, width = 1560, 30, 1536
    frame = tokens * layers * width * 2 * 2
    capacity = preset.cache.capacity_frames
    shadow = 2 * preset.cache.sink_frames * frame if preset.cache.sink == "ema" else 0
    text = preset.stated(TextPrompt)
    assert text is not None
    # the latents of what is held, noted with the cache; kept as well where prompts change them
    latents = capacity * 16 * 60 * 104 * 2
    kept = latents if text.switch == "recache" else 0
    assert plan.cache == capacity * frame + shadow + latents + kept
    assert plan.student == 2 * 1_418_996_800
    assert plan.text == 2 * 512 * layers * width * 2
    assert plan.total(2) - plan.total(1) == plan.cache + plan.decoder_state + plan.text


def test_published_cache_sizes() -> None:
    """Of 9 and of 21 frames: 2.59 and 6.04 GB in bfloat16."""
    assert full("self-forcing").cache == pytest.approx(6.04e9, rel=1e-3)
    shadow = 3 * 1560 * 30 * 1536 * 2 * 4
    ema = full("reward-forcing").cache
    assert ema - shadow == pytest.approx(2.59e9, rel=1e-3)


def test_stages_share_the_caches_and_each_has_all_weights() -> None:
    """One cache stays where it is; the decoder's state goes to the stage of its own."""
    plan = full("self-forcing")
    assert plan.total(2, 2) == plan.total(2) - 2 * plan.decoder_state
    # of a single stream the first stage measures all, decoder included
    assert plan.total(1, 2) == plan.total(1)
    assert plan.sessions_in(plan.total(3, 2), 2) == 3
    smaller = smaller_size(plan, 3, plan.total(3, 2) - 1, 2)
    assert smaller is not None and smaller.total(3, 2) < plan.total(3, 2)


@pytest.mark.parametrize("quantize", some_of(["int8", "fp8"], "fp8"))
def test_a_plan_with_8_bit_weights_is_the_plan_but_for_those(
    quantize: Literal["int8", "fp8"],
) -> None:
    preset = preset_named("sgf-plus")
    small = quantized(plan_memory(preset), preset, torch.bfloat16, quantize)
    assert small == plan_memory(preset, quantize=quantize)


def test_what_fits_is_said() -> None:
    preset = preset_named("reward-forcing")
    plan = full("reward-forcing")
    assert plan.sessions_in(plan.total(2)) == 2 and plan.sessions_in(plan.total(2) - 1) == 1
    assert plan.sessions_in(1000) == 0
    assert smaller_size(plan, 1, 1000) is None
    smaller = smaller_size(plan, 2, plan.total(2) - 4_000_000_000)
    assert smaller is not None and smaller.size < plan.size
    really = plan_memory(preset, size=smaller.size)
    assert smaller.total(2) == pytest.approx(really.total(2), rel=0.02)
    assert really.total(2) < plan.total(2) - 4_000_000_000
