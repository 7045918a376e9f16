"""`rollcast bench published` beside a stand-in for a checkout: its layout, of Rollcast's own parts.

The repository that it is for cannot be here; what that computes is on record in golden cases.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from rollcast.benchmarks.published.beside import BesideOptions, measure_beside
from rollcast.benchmarks.published.checkout import NoCheckout
from rollcast.server.cli.app import main

_MODEL = """
from rollcast.models.student.causal_student import CausalStudent
from rollcast.models.student.config import CacheConfig, StudentConfig
from .attention import attention

class CausalWanModel(CausalStudent):
    def __init__(self, *, in_dim, out_dim, patch_size, local_attn_size, sink_size, **shape):
        super().__init__(StudentConfig(
            in_channels=in_dim, out_channels=out_dim, patch=patch_size, rope="slot", **shape
        ))
        self.local_attn_size = local_attn_size
        self.sink_size = sink_size
        self.compression_alpha = None
        self.max_attention_size = None
        assert attention is not None, "to be replaced"

    def call(self, latents, times, text, kv_cache, start):
        height, width = latents.shape[3:]
        tokens = self.config.tokens_per_frame(height, width)
        assert self.max_attention_size == self.local_attn_size * tokens
        cache = kv_cache[0].get("cache")
        if cache is None:
            cache = kv_cache[0]["cache"] = self.new_cache(CacheConfig(
                window_frames=self.local_attn_size - self.sink_size, sink_frames=self.sink_size,
                sink="ema", alpha=self.compression_alpha, precision="in_place", ragged="overwrite",
            ), height=height, width=width)
        if start // tokens > cache.position:
            cache.advance(start // tokens - cache.position)
        return self(latents, times, self.encode_text(text), cache)
"""
_WRAPPER = """
import torch
from wan.modules.t5 import umt5_xxl
from wan.modules.causal_model import CausalWanModel
from rollcast.models.sampling.flow_schedule import FlowSchedule

class WanDiffusionWrapper(torch.nn.Module):
    def __init__(self, timestep_shift, is_causal):
        super().__init__()
        self.model = CausalWanModel.from_pretrained("a folder that is not here")
        self.schedule = FlowSchedule(timestep_shift)

    def forward(self, latents, text, time, kv_cache, current_start):
        times = torch.full(latents.shape[:2], time)
        flow = self.model.call(latents, times, text["prompt_embeds"], kv_cache, current_start)
        return self.schedule.to_sample(flow, latents, time, "velocity")
"""
_PIPELINE = """
import torch
from demo_utils.memory import gpu
from utils.wan_wrapper import WanDiffusionWrapper

class CausalInferencePipeline(torch.nn.Module):
    def __init__(self, args, device, generator, text_encoder, vae):
        super().__init__()
        self.args, self.generator, self.text_encoder, self.vae = args, generator, text_encoder, vae

    def inference(self, noise, text_prompts, return_latents):
        text, made, start = self.text_encoder(text_prompts=text_prompts), [], 0
        for x in noise.split(self.args.num_frame_per_block, dim=1):
            print("current_timestep")
            schedule, call = self.generator.schedule, dict(
                kv_cache=self.kv_cache1, current_start=start * self.frame_seq_length
            )
            times = schedule.warp(self.args.denoising_step_list)
            for now, then in zip(times, (*times[1:], None)):
                x = self.generator(x, text, now, **call)
                if then is not None:
                    x = schedule.add_noise(x, torch.randn_like(x.flatten(0, 1))[None], then)
            self.generator(x, text, 0.0, **call)
            made.append(x)
            start += x.shape[1]
        latents = torch.cat(made, dim=1)
        return self.vae.decode_to_pixel(latents, use_cache=False), latents
"""
_FILES = {
    "wan/__init__.py": "raise AssertionError('all of the training')",
    "wan/modules/attention.py": "attention = flash_attention = None",
    "wan/modules/model.py": "from .attention import flash_attention",
    "wan/modules/causal_model.py": _MODEL,
    "utils/wan_wrapper.py": _WRAPPER,
    "pipeline/causal_inference.py": _PIPELINE,
    "demo_utils/memory.py": "raise AssertionError('no GPU here')",
}
TINY = BesideOptions(
    dim=48,
    heads=3,
    ffn_dim=96,
    layers=2,
    text_len=4,
    text_dim=8,
    height=4,
    width=4,
    chunks=5,
    rounds=1,
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkout")
    for name, text in _FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.slow
def test_the_same_chunks_are_measured_in_both(checkout: Path) -> None:
    threads, rounds = torch.get_num_threads(), list[str]()
    report = measure_beside(checkout, TINY, rounds.append)
    assert report["greatest_difference"] == 0.0 and report["spread"] > 0.1
    assert report["ratio"] > 0 and report["threads"] == threads
    assert set(report["seconds"]) == set(report["parts"]) == {"ours", "published"}
    assert all(seconds > 0 for part in report["parts"].values() for seconds in part.values())
    assert len(rounds) == TINY.rounds
    assert not {"wan", "utils", "pipeline"} & sys.modules.keys()


@pytest.mark.slow
def test_the_command_shows_it(
    checkout: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    size = "--dim 48 --heads 3 --ffn-dim 96 --layers 1 --text-len 2 --height 4 --width 4 --rounds 1"
    threads, out = torch.get_num_threads(), tmp_path / "beside.json"
    try:
        with pytest.raises(SystemExit) as end:
            main(
                [
                    "bench",
                    "published",
                    "--checkout",
                    str(checkout),
                    *size.split(),
                    "--out",
                    str(out),
                ]
            )
    finally:
        torch.set_num_threads(threads)
    assert not end.value.code
    shown = capsys.readouterr().out
    assert "of it (median of pairs); outputs differ by at most 0.0e+00" in shown
    assert "linear layers" in shown and "current_timestep" not in shown
    assert json.loads(out.read_text())["options"]["dim"] == 48


def test_what_is_no_checkout_is_named(checkout: Path, tmp_path: Path) -> None:
    with pytest.raises(NoCheckout, match=r"no file .*causal_model\.py") as error:
        measure_beside(tmp_path, TINY, print)
    assert "github.com" in error.value.hint
    for name, text in _FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "wan/modules/model.py").write_text("import a_library_that_nobody_has")
    with pytest.raises(NoCheckout, match="a_library_that_nobody_has") as error:
        measure_beside(tmp_path, TINY, print)
    assert "pip install" in error.value.hint


def test_too_few_chunks_are_named(checkout: Path) -> None:
    with pytest.raises(ValueError, match="3 chunks; expected more than 3"):
        measure_beside(checkout, BesideOptions(chunks=3, layers=1, dim=48, heads=3), print)
