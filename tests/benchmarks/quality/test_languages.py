"""Languages are told apart, and voices that training had from those that it had not."""

from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from rollcast.benchmarks.quality.languages import measure_languages
from rollcast.models.pocket.evaluation.evaluation_set import QualitySet
from rollcast.models.pocket.evaluation.watch import Watch


class Mime:
    """Shows a gap as a grey level: the truth in German, something else in Polish."""

    def __init__(self, gaps: list[Tensor]) -> None:
        self._gaps = gaps

    def speak(self, look: str, audio: object, seed: int) -> Tensor:
        return self._gaps[seed]


def test_agreement_is_told_by_language_and_by_voice(tmp_path: Path) -> None:
    known = QualitySet.read()
    first = known.clips[0]
    german = replace(first, language="de")
    polish = replace(first, language="pl", known_voice=True)
    some = replace(known, clips=(first, german, polish))
    some.save(tmp_path / "set.safetensors")
    again = QualitySet.read(tmp_path / "set.safetensors")
    assert [(c.language, c.known_voice) for c in again.clips] == [
        ("en", False), ("de", False), ("pl", True),
    ]  # fmt: skip
    assert len(again.speech_of(first.look)) == 1, "English is counted on its own"

    torch.manual_seed(0)
    watch = Mime([german.gap, torch.rand(len(first.gap))])
    reading = replace(some, mouth=torch.nn.Identity())
    made = measure_languages(cast("Watch", watch), reading, [first.look])
    assert made["de"] == {"held out": 1.0} or made["de"]["held out"] > 0.999
    assert set(made["pl"]) == {"known"} and abs(made["pl"]["known"]) < 0.5
    english = replace(known, clips=(first,))
    assert measure_languages(cast("Watch", watch), english, [first.look]) == {}
