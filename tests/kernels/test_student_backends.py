"""The student through every backend that runs here, against the published implementations.

Recorded cases cut to the chunk in which the ring has wrapped and the sink has folded a frame.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

pytest.importorskip("triton")

from rollcast.kernels import ema_sink, modulation, ring_attention
from rollcast.kernels.dispatch import Backend, use_backend
from rollcast.models.parity import run_case


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


@pytest.mark.parametrize("backend", ["triton", "sdpa", "reference"])
@pytest.mark.parametrize("name", ["reward_forcing_alpha07_tiny", "self_forcing_window_sink_tiny"])
def test_equals_the_published_implementation(
    fixtures: Path, tmp_path: Path, name: str, backend: Backend
) -> None:
    with use_backend(backend):
        report = run_case(shortened(tmp_path, fixtures / "golden", name, 4))
    assert len(report.chunk_differences) == 4
    assert report.max_difference <= 1e-5, report.chunk_differences


def test_triton_is_what_runs(
    fixtures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each kernel of the student in turn does nothing: the case fails where it is first needed."""
    path = shortened(tmp_path, fixtures / "golden", "reward_forcing_alpha07_tiny", 1)
    for module, name in (
        (ring_attention, "ring_attention"),
        (ema_sink, "ema_sink"),
        (modulation, "modulate"),
    ):
        with monkeypatch.context() as patch, use_backend("triton"):
            patch.setattr(module, name, _refuse)
            with pytest.raises(NotImplementedError):
                run_case(path)


def _refuse(*_: object, **__: object) -> None:
    raise NotImplementedError
