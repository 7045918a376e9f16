"""Types of numbers: what is kept in 8 bits, what stays, what it takes, and who says so."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from rollcast.models.contract import Controls, StreamRequest
from rollcast.models.registry import load_model
from rollcast.models.student.config import AvatarConfig
from rollcast.models.student.row_scaled_linear import RowScaledLinear
from rollcast.models.wan.checkpoint import open_checkpoint
from rollcast.models.wan.loading import empty_student, load_preset_students
from rollcast.models.wan.locate import locate
from rollcast.models.wan.lora import LowRank
from rollcast.models.wan.number_types import (
    NumberTypes,
    QuantizationMissing,
    quantised_layers,
    stored_bytes,
)
from rollcast.models.wan.presets.catalogue import preset_named
from rollcast.models.wan.presets.wan21 import T2V_1_3B
from rollcast.models.wan.stream.memory_plan import plan_memory

from ...tiny_checkpoints import tiny_config, tiny_student, write_checkpoint

CPU = torch.device("cpu")
SIZE = (64, 32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("longlive")
    write_checkpoint("longlive", path)
    return path


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_published_rule_of_what_stays() -> None:
    """LongLive 2's float8: 300 matrices, and 6 of conditioning and output stay."""
    small, stays = quantised_layers(empty_student(T2V_1_3B))
    assert len(small) == 300 and all(name.startswith("blocks.") for name in small)
    assert stays == [
        *("text_embedding.0", "text_embedding.2", "time_embedding.0", "time_embedding.2"),
        *("time_projection.1", "head.head"),
    ]


def test_an_avatars_injected_attention_is_quantised_and_its_encoder_is_not() -> None:
    """Live Avatar's float8: every matrix but those of text, time, the head and the encoder."""
    config = tiny_config(preset_named("self-forcing"))
    avatar = AvatarConfig(inject_layers=(0,), audio_layers=3, audio_dim=8)
    small, stays = quantised_layers(empty_student(replace(config, avatar=avatar)))
    assert any(name.startswith("audio_injector.") for name in small)
    assert any(name.startswith("casual_audio_encoder.") for name in stays)
    assert not any(name.startswith(("blocks.", "audio_injector.")) for name in stays)


def kept_values(layer: nn.Linear) -> torch.Tensor:
    """What a quantised layer's weight stands for, float32."""
    if isinstance(layer, RowScaledLinear):
        return layer.weight.float() * layer.scale[:, None]
    return layer.weight.dequantize().float()  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("quantize", ["int8", "fp8", "fp8-dynamic"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_loaded_student_is_quantised_behind_its_adapter(
    quantize: str, dtype: torch.dtype, folder: Path
) -> None:
    preset = preset_named("longlive")
    files = locate(preset, [str(folder)])
    types = NumberTypes(dtype, quantize)  # pyright: ignore[reportArgumentType]
    student = load_preset_students(preset, files, device=CPU, types=types).student
    assert preset.adapter is not None and files.adapter is not None
    adapter = LowRank(
        open_checkpoint(files.adapter, preset.adapter.source.sections), alpha=preset.adapter.alpha
    )
    plain = tiny_student(preset).state_dict()
    small, stays = quantised_layers(student)
    for name, module in student.named_modules():
        if not isinstance(module, nn.Linear):
            continue
        wanted = adapter(f"{name}.weight", plain[f"{name}.weight"])
        if name in stays:
            assert module.weight.dtype == dtype and torch.equal(module.weight, wanted.to(dtype))
            continue
        kept = kept_values(module)
        row = wanted.abs().amax(dim=1, keepdim=True)
        # half a step of 127 to a row's greatest; three bits behind the point of e4m3, near zero its
        # smallest step; and the rounding to `dtype` before and behind
        step = 0.5 / 127 if quantize == "int8" else 1 / 16
        assert ((kept - wanted).abs() <= (step + 0.01) * row).all(), name
        assert name in small and not torch.equal(kept, wanted)
        scale = module.scale.nbytes if isinstance(module, RowScaledLinear) else 0
        assert stored_bytes(
            module.weight
        ) + scale < 0.8 * wanted.numel() * dtype.itemsize + 6 * len(row)
    assert sum(stored_bytes(p) for p in student.parameters()) == types.weight_bytes(student)


@pytest.mark.parametrize("quantize", ["int8", "fp8"])
def test_a_quantised_model_streams_and_resumes_bit_for_bit(quantize: str, folder: Path) -> None:
    asked = {"weights": [str(folder)], "size": SIZE, "threads": 1}
    model = load_model("longlive", **asked, dtype="bf16", quantize=quantize)
    exact = load_model("longlive", **asked)
    request = StreamRequest(seed=3, prompt="a red fox")
    state, other = model.start(request), exact.start(request)
    first, wanted = model.step(state, Controls()), exact.step(other, Controls())
    apart = (first.frames.astype(float) - wanted.frames).std() / wanted.frames.std()
    # of other numbers, and yet the same picture
    assert 0.002 < apart < 0.5
    again = model.restore(model.snapshot(state))
    switch = Controls(prompt="a paper boat on the green sea")
    assert (model.step(state, switch).frames == model.step(again, switch).frames).all()


@pytest.mark.slow
def test_the_plan_knows_types() -> None:
    preset = preset_named("reward-forcing")
    bf16, int8 = plan_memory(preset), plan_memory(preset, quantize="int8")
    full = plan_memory(preset, dtype=torch.float32)
    assert int8.dtype == "bfloat16 with int8 weights"
    # 1.42e9 values, 1.35e9 of them in matrices of blocks
    assert bf16.student == pytest.approx(2 * 1.419e9, rel=0.01)
    assert full.student == 2 * bf16.student
    assert int8.student / bf16.student == pytest.approx(0.52, abs=0.01)
    assert int8.denoising - bf16.denoising == 2 * 1536 * 8960, "the greatest matrix in bfloat16"
    products = plan_memory(preset, quantize="fp8-dynamic", gpu=(9, 0))
    assert products.student / bf16.student == pytest.approx(0.52, abs=0.01)
    served = plan_memory(preset, gpu=(9, 0))
    # beside the widest activations they live in 8 bits, and no matrix is brought back
    assert 0 < products.denoising - served.denoising <= 1.1 * 4680 * 8960
    assert (int8.cache, int8.decoder) == (bf16.cache, bf16.decoder)


def test_names_are_checked() -> None:
    cuda = torch.device("cuda")
    assert NumberTypes.named(None, None, cuda) == NumberTypes(torch.bfloat16)
    assert NumberTypes.named(None, "int8", CPU) == NumberTypes(torch.float32, "int8")
    assert NumberTypes.named("fp16", None, CPU).dtype == torch.float16
    with pytest.raises(ValueError, match="dtype 'half'; expected one of bf16, fp16, fp32"):
        NumberTypes.named("half", None, CPU)
    with pytest.raises(ValueError, match="quantize 'int4'; expected one of fp8, fp8-dynamic"):
        NumberTypes.named(None, "int4", CPU)
    asked = NumberTypes.named("bf16", "fp8-dynamic", cuda, attention="int8")
    assert asked.name == "bfloat16 with fp8 products and int8 attention"
    with pytest.raises(ValueError, match="attention 'fp4'; expected one of exact, int8"):
        NumberTypes.named(None, None, CPU, attention="fp4")


def test_who_cannot_compute_in_8_bits_is_told() -> None:
    """The option, what it needs and what there is."""
    products = NumberTypes(torch.bfloat16, "fp8-dynamic")
    scores = NumberTypes(torch.float16, attention="int8")
    for types, option in ((products, "quantize fp8-dynamic"), (scores, "attention int8")):
        types.check_device("cuda", (9, 0))
        for device in ("cpu", "mps"):
            with pytest.raises(ValueError, match=f"--{option} needs a CUDA device.*is {device}"):
                types.check_device(device, None)
    scores.check_device("cuda", (8, 0))
    with pytest.raises(ValueError, match=r"needs compute capability 8.9, and this GPU has 8.6"):
        products.check_device("cuda", (8, 6))
    with pytest.raises(ValueError, match="in bf16 alone"):
        NumberTypes(torch.float16, "fp8-dynamic").check_device("cuda", (9, 0))
    with pytest.raises(ValueError, match="half precision"):
        NumberTypes(torch.float32, attention="int8").check_device("cuda", (9, 0))
    NumberTypes(torch.float32, "fp8").check_device("cpu", None)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_a_gpu_that_is_too_old_is_told(dtype: torch.dtype) -> None:
    NumberTypes(dtype).check_device("cuda", (8, 0))
    with pytest.raises(ValueError, match=r"need .* 8\.0 or newer, and this one has 7\.5; say --d"):
        NumberTypes(dtype).check_device("cuda", (7, 5))
    NumberTypes(dtype).check_device("cpu", None)


def test_who_lacks_torchao_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)
    layer = nn.Linear(4, 4)
    with pytest.raises(QuantizationMissing, match=r"pip install 'rollcast\[quantize\]'"):
        NumberTypes(torch.float32, "int8").settle("blocks.0.ffn.0", layer)
    NumberTypes(torch.float32, "int8").settle("head.head", layer)
