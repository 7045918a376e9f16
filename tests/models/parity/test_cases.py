"""Parity with the published implementations, recorded in fixtures/golden."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from rollcast.models.parity.cases import CaseReport, case_files, report_cases, run_case
from rollcast.models.parity.published import recorded_noise

CASES = (
    "self_forcing_tiny",
    "self_forcing_window_sink_tiny",
    "reward_forcing_alpha07_tiny",
    "reward_forcing_short_start_tiny",
    "longlive_v1_switch_tiny",
    "longlive_large_sink_tiny",
    "longlive2_tiny",
    "causal_forcing_framewise_tiny",
    "sgf_plus_gap_tiny",
    "rolling_forcing_tiny",
    "trackwan_live_tiny",
    "stream_diffusion_v2_tiny",
    "stream_diffusion_v2_3_steps_tiny",
)


@pytest.fixture
def golden(fixtures: Path) -> Path:
    return fixtures / "golden"


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_equals_the_published_implementation(golden: Path, name: str) -> None:
    report = run_case(golden / f"{name}.json")
    # Absolute, in float32: a frozen sink at alpha 0.999 already differs by 2e-4.
    assert report.tolerance == 1e-5
    assert report.max_difference <= 1e-5, report.chunk_differences
    assert report.passed


@pytest.mark.parametrize("name", ["liveavatar_tiny", "s2v_audio_bucket", "wan21_vae_seeded"])
def test_equals_the_rest_of_the_published(golden: Path, name: str) -> None:
    report = run_case(golden / f"{name}.json")
    # Far below the tolerance that Live Avatar's case states for its float16 rotations.
    assert report.max_difference <= 1e-5, report.chunk_differences
    assert report.passed


def changed_case(golden: Path, folder: Path, name: str, **changes: Any) -> Path:
    """A copy of a case with other entries in its JSON (`config` entries by name)."""
    case = json.loads((golden / f"{name}.json").read_text())
    for key, value in changes.items():
        (case["config"] if key in case["config"] else case)[key] = value
    for entry in ("tensors", "weights", "inputs", "outputs"):
        if entry in case:
            shutil.copy(golden / case[entry], folder)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(case))
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "changes", "first_wrong"),
    [
        ("reward_forcing_alpha07_tiny", {"compression_alpha": 0.71}, 3),
        ("reward_forcing_alpha07_tiny", {"family": "longlive_infinity"}, 3),
        ("reward_forcing_short_start_tiny", {"compression_alpha": None}, 4),
        ("self_forcing_window_sink_tiny", {"sink_size": 0}, 3),
        ("longlive_v1_switch_tiny", {"global_sink": False}, 5),
        ("longlive2_tiny", {"multi_shot_sink": False}, 7),
        ("longlive2_tiny", {"multi_shot_rope_offset": 0.0}, 4),
        ("longlive2_tiny", {"prompt_of_chunk": [0] * 11}, 3),
        ("causal_forcing_framewise_tiny", {"denoising_step_list_first_chunk_warped": [1e3]}, 1),
        ("sgf_plus_gap_tiny", {"kv_cache_position_mode": "contiguous"}, 4),
        ("sgf_plus_gap_tiny", {"kv_cache_train_frames": 20}, 6),
        ("rolling_forcing_tiny", {"max_attention_frames": 20}, 2),
        ("rolling_forcing_tiny", {"cache_frames": 21}, 8),
        ("trackwan_live_tiny", {"integer_model_timesteps": False}, 0),
        ("trackwan_live_tiny", {"scheduler": {"shift": 6.0, "steps": 1000}}, 0),
        pytest.param(
            *("stream_diffusion_v2_tiny", {"adapt_sink_threshold": -1.0}, 5), marks=pytest.mark.long
        ),
        pytest.param("stream_diffusion_v2_tiny", {"t_refresh": 60}, 49, marks=pytest.mark.long),
        pytest.param("stream_diffusion_v2_tiny", {"noise_scale": 0.79}, 0, marks=pytest.mark.long),
        ("stream_diffusion_v2_3_steps_tiny", {"denoising_step_list_warped": [700, 500, 300]}, 0),
        ("liveavatar_tiny", {"rel_dist": 29}, 1),
        ("liveavatar_tiny", {"sink_swap_at_block": 3}, 3),
        ("liveavatar_tiny", {"audio_inject_layers": [1, 2]}, 0),
        ("self_forcing_tiny", {"denoising_step_list_warped": [1000.0, 937.5, 833.0, 500.0]}, 0),
    ],
)
def test_a_wrong_setting_shows(
    golden: Path, tmp_path: Path, name: str, changes: dict[str, Any], first_wrong: int
) -> None:
    report = run_case(changed_case(golden, tmp_path, name, **changes))
    assert not report.passed
    right = [difference <= report.tolerance for difference in report.chunk_differences]
    assert right.index(False) == first_wrong


def test_cases_that_cannot_run_are_reported(golden: Path, tmp_path: Path) -> None:
    unknown = changed_case(golden, tmp_path, "self_forcing_tiny", family="nobody")
    gone, good = tmp_path / "gone.json", golden / "self_forcing_tiny.json"
    reports = report_cases([unknown, gone, good])
    assert [report.passed for report in reports] == [False, False, True]
    assert "unknown family 'nobody'" in (reports[0].error or "")
    assert "FileNotFoundError" in (reports[1].error or "")
    assert reports[0].max_difference == float("inf")


def retensored(
    golden: Path, folder: Path, name: str, tensors: dict[str, torch.Tensor | None]
) -> Path:
    """A copy of a case with other tensors; None takes one away."""
    path = changed_case(golden, folder, name)
    case = json.loads(path.read_text())
    gone = {key for key, tensor in tensors.items() if tensor is None}
    more = {key: tensor for key, tensor in tensors.items() if tensor is not None}
    for entry in ("weights", "tensors"):
        if entry in case:
            given = load_file(folder / case[entry]) | (more if entry == "tensors" else {})
            kept = {key: tensor for key, tensor in given.items() if key not in gone}
            save_file(kept, folder / case[entry])
    return path


@pytest.mark.parametrize(
    ("tensors", "problem"),
    [
        ({"in/noise": None}, "no entry or tensor 'in/noise'"),
        ({"out/latents": None}, "no entry or tensor 'out/latents'"),
        ({"in/prompt_embeds": None}, "no tensor in/prompt_embeds"),
        ({"in/renoise/004": None}, "14 tensors in/renoise/*; the steps draw more"),
        ({"in/renoise/last": torch.zeros(1)}, "tensors in/renoise/last; expected a number"),
        ({"w/head.head.bias": None}, "head.head.bias"),
        ({"w/head.head.other": torch.zeros(1)}, "head.head.other"),
        ({"out/latents": torch.zeros(1, 15, 4, 6, 6)}, "the case has (1, 15, 4, 6, 6)"),
    ],
)
def test_tensors_that_are_not_as_they_should_be_are_named(
    golden: Path, tmp_path: Path, tensors: dict[str, torch.Tensor | None], problem: str
) -> None:
    (report,) = report_cases([retensored(golden, tmp_path, "self_forcing_tiny", tensors)])
    assert not report.passed
    assert problem in (report.error or ""), report.error


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("\0", "not a case, which is JSON"),
        ("[1]", "not a case, which is an object"),
        ("{}", "no entry or tensor 'family'"),
        ('{"family": "self_forcing"}', "no entry or tensor 'tolerance'"),
        ('{"family": "self_forcing", "tolerance": null}', "TypeError"),
        ('{"family": "self_forcing", "tolerance": Infinity}', "tolerance inf; expected"),
        ('{"family": "self_forcing", "tolerance": NaN}', "tolerance nan; expected"),
        ('{"family": "self_forcing", "tolerance": 1, "tensors": "gone"}', "FileNotFoundError"),
        ('{"family": "self_forcing", "tolerance": 1}', "no entry or tensor 'in/noise'"),
    ],
)
def test_files_that_are_no_cases_are_named(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "odd.json").write_text(text)
    (report,) = report_cases([tmp_path / "odd.json"])
    assert not report.passed
    assert problem in (report.error or ""), report.error


def test_nothing_compared_is_nothing_passed() -> None:
    assert not CaseReport("empty", "self_forcing", 1e-5, ()).passed
    assert not CaseReport("nan", "self_forcing", 1e-5, (float("nan"),)).passed
    assert CaseReport("good", "self_forcing", 1e-5, (1e-6,)).passed


def test_a_folder_stands_for_its_cases(golden: Path, tmp_path: Path) -> None:
    whole = case_files([golden])
    assert {f"{name}.json" for name in CASES} <= {path.name for path in whole}
    assert case_files([golden / "self_forcing_tiny.json", golden])[1:] == whole
    with pytest.raises(FileNotFoundError, match="no case"):
        case_files([tmp_path])
    with pytest.raises(FileNotFoundError, match="no such case"):
        case_files([golden, tmp_path / "gone.json"])


def test_recorded_noise_is_drawn_by_number() -> None:
    names = [f"in/renoise/{k:03d}" for k in (999, 1000, 2)]
    draw = recorded_noise({name: torch.tensor(float(name[11:])) for name in names})
    assert [float(draw(torch.zeros(()))) for _ in names] == [2.0, 999.0, 1000.0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_inputs_of_other_types_are_computed_in_that_of_the_record(
    golden: Path, tmp_path: Path, dtype: torch.dtype
) -> None:
    """Values that both types hold, so that nothing else changes."""
    path = changed_case(golden, tmp_path, "self_forcing_tiny")
    file = tmp_path / json.loads(path.read_text())["tensors"]
    tensors = {name: tensor.bfloat16().float() for name, tensor in load_file(file).items()}
    save_file(tensors, file)
    plain = run_case(path)
    save_file({name: tensor.to(dtype) for name, tensor in tensors.items()}, file)
    assert run_case(path).chunk_differences == plain.chunk_differences
