"""Parity with the published implementations, recorded in fixtures/golden."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from rollcast.models.parity.cases import report_cases, run_case
from rollcast.models.parity.students import cache_config

CASES = (
    "self_forcing_tiny",
    "self_forcing_window_sink_tiny",
    "reward_forcing_alpha07_tiny",
    "longlive_v1_switch_tiny",
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


@pytest.mark.parametrize(
    ("name", "changes", "first_wrong"),
    [
        ("reward_forcing_alpha07_tiny", {"compression_alpha": 0.71}, 3),
        ("reward_forcing_alpha07_tiny", {"family": "longlive_infinity"}, 3),
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
        ("stream_diffusion_v2_tiny", {"adapt_sink_threshold": -1.0}, 5),
        ("stream_diffusion_v2_tiny", {"t_refresh": 60}, 49),
        ("stream_diffusion_v2_tiny", {"noise_scale": 0.79}, 0),
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


def test_published_quirks_are_on(golden: Path) -> None:
    """No recorded case here has the short warm start that shows the last two."""
    case = json.loads((golden / "reward_forcing_alpha07_tiny.json").read_text())
    config = cache_config(case)
    assert (config.sink, config.alpha, config.precision) == ("ema", 0.7, "in_place")
    assert (config.ragged, config.zero_start) == ("overwrite", True)


def test_cases_that_cannot_run_are_reported(golden: Path, tmp_path: Path) -> None:
    unknown = changed_case(golden, tmp_path, "self_forcing_tiny", family="nobody")
    gone, good = tmp_path / "gone.json", golden / "self_forcing_tiny.json"
    reports = report_cases([unknown, gone, good])
    assert [report.passed for report in reports] == [False, False, True]
    assert "unknown family 'nobody'" in (reports[0].error or "")
    assert "FileNotFoundError" in (reports[1].error or "")
    assert reports[0].max_difference == float("inf")
