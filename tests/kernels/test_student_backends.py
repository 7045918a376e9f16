"""The student through every backend that runs here, against the published implementations.

Recorded cases cut to the chunk in which the ring has wrapped and the sink has folded a frame.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

pytest.importorskip("triton")

from rollcast.kernels.dispatch import Backend, use_backend
from rollcast.kernels.ema_sink import ema_sink
from rollcast.kernels.key_rotation import key_rotation
from rollcast.kernels.modulation import modulation
from rollcast.kernels.norm_rope_write import norm_rope_write
from rollcast.kernels.ring_attention import ring_attention
from rollcast.models.parity.cases import run_case

EMA, STATIC = "reward_forcing_alpha07_tiny", "self_forcing_window_sink_tiny"


def shortened(folder: Path, golden: Path, name: str, chunks: int) -> Path:
    """The first `chunks` of a case; `chunks` at most what it has."""
    case = json.loads((golden / f"{name}.json").read_text())
    frames = chunks * case["num_frame_per_block"]
    tensors = load_file(golden / case["weights"]) | load_file(golden / case["tensors"])
    for entry in ("in/noise", "out/latents"):
        tensors[entry] = tensors[entry][:, :frames].contiguous()
    save_file(tensors, folder / "case.safetensors")
    del case["weights"]
    path = folder / "case.json"
    path.write_text(json.dumps(case | {"tensors": "case.safetensors"}))
    return path


@pytest.mark.parametrize(
    ("name", "backend"),
    [
        *((name, backend) for name in (EMA, STATIC) for backend in ("sdpa", "reference")),
        *(pytest.param(name, "triton", marks=pytest.mark.long) for name in (EMA, STATIC)),
    ],
)
def test_equals_the_published_implementation(
    fixtures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, backend: Backend
) -> None:
    """Every kernel of the student runs where it should, and nowhere else."""
    if backend == "triton" and os.environ.get("TRITON_INTERPRET") != "1":
        pytest.skip("recorded cases run on a CPU, where Triton has only its interpreter")
    kernels = {
        "ring_attention": ring_attention,
        "norm_rope_write": norm_rope_write,
        "modulate": modulation,
        "ema_sink": ema_sink,
        "rotate_keys": key_rotation,
    }
    ran: set[str] = set()
    for kernel, module in kernels.items():
        monkeypatch.setattr(module, kernel, _noted(getattr(module, kernel), kernel, ran))
    with use_backend(backend):
        report = run_case(shortened(tmp_path, fixtures / "golden", name, 4))
    assert len(report.chunk_differences) == 4
    assert report.max_difference <= 1e-5, report.chunk_differences
    of_slots = {"ema_sink", "rotate_keys"}
    wanted = kernels.keys() if name.startswith("reward") else kernels.keys() - of_slots
    assert ran == (wanted if backend == "triton" else set())


def _noted(function: Callable[..., Any], name: str, ran: set[str]) -> Callable[..., Any]:
    def noting(*args: Any, **kwargs: Any) -> Any:
        ran.add(name)
        return function(*args, **kwargs)

    return noting
