"""`rollcast bench quality`: how good the embedded model is, measured from the pixels it makes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...models.pocket.evaluation.evaluation_set import QualitySet
from ...models.pocket.evaluation.watch import Watch
from ...models.staged_model import StagedModel
from .clip import SHOWN, write_clip
from .control import Prompts, measure_drags, measure_prompts
from .human import Spoken, best_possible, say_recordings
from .languages import measure_languages
from .length import WINDOWS_S, Length, measure_length
from .speech import measure_speech

# an expression network that reads fewer real expressions than this is no instrument
_LEAST_READ = 0.9
_NO_RECORDINGS = "no recordings: name a folder of them with --human"


@torch.inference_mode()
def measure(
    model: StagedModel[Any],
    reference: QualitySet,
    *,
    minutes: float,
    names: Iterable[str] = (),
    human: Path | None = None,
    clip: Path | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """The report; ratios are generated over real. What was not measured is None.

    `names` picks looks, all when empty. `human` is a folder of recorded speech, of which `clip`
    becomes a WebP. Raises ValueError for an unknown look and for a model
    whose frames are not of the set's size.
    """
    chosen = reference.rows(list(names))
    looks = sorted(set(chosen)) if chosen else list(range(len(reference.looks)))
    if model.info.width != reference.size:
        raise ValueError(
            f"the model's frames are {model.info.width} px wide, the evaluation set's "
            f"{reference.size}; render and measure again with training.measures"
        )
    avatars = [k for k in looks if reference.looks[k].is_avatar]
    watch = Watch(model)
    say(f"speech: {len(avatars)} avatars")
    speech = measure_speech(watch, reference, avatars)
    say(f"{minutes:g} min of each avatar")
    say("other languages")
    languages = measure_languages(watch, reference, avatars)
    length = measure_length(watch, reference, avatars, minutes)
    say("drags and prompts")
    drags = measure_drags(watch, reference, looks)
    prompts = measure_prompts(watch, reference, looks)
    notes: dict[str, str] = {}
    if not languages:
        notes["lip_sync_by_language"] = "the evaluation set has no speech in other languages"
    spoken = None
    if human is None:
        notes["human_lip_sync"] = _NO_RECORDINGS
    else:
        say("recordings")
        spoken = _of_recordings(say_recordings(watch, reference, avatars, human), clip)
        if spoken is None:
            notes["human_lip_sync"] = "the folder has no recording of two seconds or more"
    sync = _means(speech.by_look)
    amplitude, lively = _means(speech.amplitude), _means(speech.motion)
    return {
        "lip_sync": _mean(sync.values()),
        "lip_sync_worst": min(sync.values(), default=None),
        "lip_sync_by_language": {
            language: min(voices.values()) for language, voices in languages.items()
        }
        or None,
        "lip_sync_wrong_audio": speech.wrong_audio(),
        "lip_lag_frames": speech.lag() if speech.pairs else None,
        "mouth_amplitude": _mean(amplitude.values()),
        "silence_close_ms_p95": _p95(speech.close_ms),
        "sharpness": {name: _mean(length.whole.get(name, {}).values()) for name in WINDOWS_S},
        "mouth_sharpness": {name: _mean(length.mouth.get(name, {}).values()) for name in WINDOWS_S},
        "identity_slope": max(length.slope.values(), key=abs, default=None),
        "identity_margin": min(length.margin.values(), default=None),
        "track_error_width": _mean(drags.objects + drags.heads),
        "track_start_chunks_p95": _p95(drags.starts),
        "prompt_accuracy": _prompt_accuracy(prompts, reference, notes),
        "dynamics_ratio": _mean(lively.values()),
        "human_lip_sync": spoken,
        "rtf_p95": watch.rtf_p95(),
        "measures": reference.measures,
        "details": {
            "model": model.info.name,
            "size": reference.size,
            "minutes": minutes,
            "threads": torch.get_num_threads(),
            "lip_sync": sync,
            "lip_sync_by_language_and_voice": languages,
            "mouth_amplitude": amplitude,
            "dynamics_ratio": lively,
            **_long(length),
            "track_error_objects": _mean(drags.objects),
            "track_error_heads": _mean(drags.heads),
            "prompt_attributes": _mean(prompts.attributes),
            "human_lip_sync_of_true_gaps": best_possible(reference, model.info.fps),
            "prompt_expressions": _mean(prompts.expressions),
            "prompt_expressions_missed": prompts.missed,
            "pauses": len(speech.close_ms),
            "silence_closed_within_160_ms": _mean(t <= 160 for t in speech.close_ms),
            "notes": notes,
        },
    }


def _of_recordings(said: Iterable[Spoken], clip: Path | None) -> float | None:
    """Their mean agreement; one look of each person is shown in the clip."""
    scores, shown = [], dict[str, Spoken]()
    for item in said:
        scores.append(item.agreement)
        if clip is not None and len(shown) < SHOWN:
            shown.setdefault(item.look.split("-")[0], item)
    if clip is not None and shown:
        write_clip(list(shown.values()), clip)
    return _mean(scores)


def _long(length: Length) -> dict[str, Any]:
    return {
        "sharpness": length.whole,
        "mouth_sharpness": length.mouth,
        "dynamics_by_window": length.motion,
        "identity_slope": length.slope,
        "identity_margin": length.margin,
    }


def _means(lists: dict[str, list[float]]) -> dict[str, float]:
    return {name: float(np.mean(values)) for name, values in lists.items()}


def _mean(values: Iterable[float]) -> float | None:
    kept = list(values)
    return float(np.mean(kept)) if kept else None


def _p95(values: list[float] | list[int]) -> float | None:
    return float(np.percentile(values, 95)) if values else None


def _prompt_accuracy(
    prompts: Prompts, reference: QualitySet, notes: dict[str, str]
) -> float | None:
    """Attributes and, if they can be read, expressions, counted equally.

    An instrument that misreads real frames must not judge generated ones.
    """
    attributes, expressions = _mean(prompts.attributes), _mean(prompts.expressions)
    if attributes is None or expressions is None:
        return attributes
    read = reference.measures["expression_when_shown"]
    if read < _LEAST_READ:
        notes["prompt_accuracy"] = (
            f"expressions are left out: their network reads {read:.0%} of real held-out ones"
        )
        return attributes
    return (attributes + expressions) / 2
