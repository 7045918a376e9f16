"""The ablation: variants are what they say, a stopped run goes on, tables, plots and clips."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from rollcast.benchmarks.ablation import ablation
from rollcast.benchmarks.ablation.clip import write_clip
from rollcast.benchmarks.ablation.plots import plot
from rollcast.benchmarks.ablation.speech import speech_of
from rollcast.benchmarks.ablation.stream import VariantModel, VariantStream
from rollcast.benchmarks.ablation.table import BEGIN, END, write_tables
from rollcast.benchmarks.ablation.variants import (
    BROAD,
    CLEAN,
    LONG,
    NO_SINK,
    QUICK_EMA,
    TAUGHT,
    Job,
    Variant,
    plan,
)
from rollcast.benchmarks.ablation.watch import Judge, Watched, watch
from rollcast.models.contract import Controls
from rollcast.models.pocket.config import CACHE, STEPS
from rollcast.models.pocket.evaluation.evaluation_set import QualitySet
from rollcast.models.pocket.evaluation.watch import Watch
from rollcast.models.pocket.model import PocketModel
from rollcast.server.cli.app import main

pytestmark = pytest.mark.slow

LOOKS = ["mei-gallery", "kofi-news", "sea"]
PASS_S = 0.03


@pytest.fixture(scope="module")
def reference() -> QualitySet:
    return QualitySet.read()


@pytest.fixture(scope="module")
def judge(reference: QualitySet) -> Judge:
    return Judge(reference)


def latents(variant: Variant, look: str, count: int) -> list[torch.Tensor]:
    stream = VariantStream(VariantModel(variant), look, np.zeros(0, np.int16))
    return [made.latents for made in stream.chunks(count)]


def test_the_taught_variant_is_what_the_weights_were_taught() -> None:
    assert (TAUGHT.cache, TAUGHT.timesteps, TAUGHT.clean_pass) == (CACHE, STEPS, False)


@pytest.mark.parametrize(
    ("steps", "times"), [(1, [1000]), (2, [1000, 500]), (4, [1000, 750, 500, 250])]
)
def test_steps_are_spaced_evenly(steps: int, times: list[float]) -> None:
    assert Variant(steps=steps).timesteps == pytest.approx(times)


def test_ten_minutes_take_less_than_half_an_hour_of_one_core() -> None:
    jobs = plan(10, LOOKS)
    assert len({job.key for job in jobs}) == len(jobs)
    assert {job.variant for job in jobs if job.minutes == 10} == set(LONG)
    assert {job.look for job in jobs if job.minutes == 10} == {LOOKS[0]}
    for look in LOOKS:
        assert set(BROAD) <= {job.variant for job in jobs if job.look == look}
    assert PASS_S * sum(job.passes for job in jobs) < 26 * 60


def test_marks_are_the_same_words_sooner_and_later(reference: QualitySet) -> None:
    info = PocketModel().info
    speaker = next(k for k, look in enumerate(reference.looks) if look.is_avatar)
    speech = speech_of(reference, speaker, info)
    chunks = round(600e6 / info.chunk_us)
    marks = speech.marks(chunks, info)
    assert list(marks) == ["5", "60", "600"]
    assert len({start % speech.period for start in marks.values()}) == 1
    for name, start in list(marks.items())[1:]:
        late = float(name) - (start + speech.length) * info.chunk_us / 1e6
        assert 0 <= late < speech.period * info.chunk_us / 1e6
    # the passage's sound is that of the clip whose lip gap it is compared with
    samples = info.chunk_samples
    said = speech.audio[marks["5"] * samples : (marks["5"] + speech.length) * samples]
    truth = next(c for c in reference.speech_of(speaker) if c.gap is speech.gap)
    assert np.array_equal(said[: len(truth.audio)], truth.audio)
    assert list(speech.marks(speech.first + speech.length, info)) == ["5"]


@pytest.mark.long
def test_the_taught_variant_is_the_model(reference: QualitySet) -> None:
    look = reference.looks[0].name
    audio = reference.speech_of(0)[0].audio
    stream = VariantStream(VariantModel(TAUGHT), look, audio)
    made = [stream.frames(chunk) for chunk in stream.chunks(8)]
    shown = [chunk.frames for chunk in Watch(PocketModel()).chunks(look, audio, 8)]
    assert np.array_equal(np.stack(made), np.stack(shown))


@pytest.mark.long
def test_variants_differ_from_the_taught_one_and_no_sooner_than_they_should() -> None:
    window = CACHE.window_frames
    taught = latents(TAUGHT, LOOKS[0], window + 2)
    # look-ahead takes one chunk before the first one here; the window holds the one under way
    for variant, equal in ((QUICK_EMA, window - 1), (Variant(steps=1), 0)):
        found = latents(variant, LOOKS[0], window + 2)
        differs = [not torch.equal(a, b) for a, b in zip(found, taught, strict=True)]
        assert differs == [k >= equal for k in range(len(differs))], variant.key


def test_a_clean_pass_changes_only_what_comes_later() -> None:
    models = [VariantModel(variant) for variant in (TAUGHT, CLEAN)]
    states = [model.begin(0, LOOKS[0]) for model in models]
    assert [len(state.caches) for state in states] == [len(STEPS), 1]
    chunks = []
    for model, state in zip(models, states, strict=True):
        chunks.append([model.latents(state, model.prepare(state, Controls())) for _ in range(2)])
        assert all(cache.position == 3 for cache in state.caches), "the picture and two chunks"
    assert torch.equal(chunks[0][0], chunks[1][0])
    assert not torch.equal(chunks[0][1], chunks[1][1])


@pytest.mark.long
def test_without_a_sink_the_picture_leaves_and_an_ema_sink_moves() -> None:
    kept = {}
    for variant in (TAUGHT, NO_SINK, QUICK_EMA):
        model = VariantModel(variant)
        stream = VariantStream(model, LOOKS[0], np.zeros(0, np.int16))
        seen = []
        for _ in stream.chunks(CACHE.window_frames + 2):
            cache = stream.state.caches[0].layers[0]
            seen.append(cache.value[:, :, : cache.tokens_per_frame].clone())
        kept[variant] = [not torch.equal(each, seen[0]) for each in seen]
    assert not any(kept[TAUGHT])
    assert kept[NO_SINK][-1] and kept[QUICK_EMA][-1]


@pytest.mark.long
def test_people_are_told_apart(reference: QualitySet, judge: Judge) -> None:
    names = [look.name for look in reference.looks]
    own, other = (names.index(name) for name in LOOKS[:2])
    stream = VariantStream(VariantModel(TAUGHT), LOOKS[0], np.zeros(0, np.int16))
    frames = stream.frames(next(stream.chunks(1)))
    assert judge.distance(own, frames) < 0.2
    assert judge.distance(other, frames) > 0.9


@pytest.mark.long
def test_a_short_stream_is_measured(reference: QualitySet, judge: Judge) -> None:
    names = [look.name for look in reference.looks]
    spoken = watch(judge, VariantModel(TAUGHT), names.index(LOOKS[0]), 0.1)
    report = json.loads(json.dumps(spoken.report))
    assert list(report["marks"]) == ["5"]
    figures = report["marks"]["5"]
    assert figures["lip_sync"] > 0.4 and figures["identity"] < 0.3
    assert 0.3 < figures["dynamics"] < 3 and 0.3 < figures["sharpness"] < 2
    assert (figures["latent_shift"], figures["latent_spread"]) == (0, 1)
    assert report["ms"]["student"] > 0 and len(report["curve"]["s"]) == 4
    assert spoken.frames.shape[1:] == (reference.size, reference.size, 3)
    scene = watch(judge, VariantModel(TAUGHT), names.index("sea"), 0.1).report["marks"]["5"]
    assert scene["lip_sync"] is None and scene["mouth_sharpness"] is None
    assert scene["identity"] < 0.5


def made_up(job: Job, k: int) -> Watched:
    seconds = [5, 60, *([600] if job.minutes > 1 else [])]
    names = "lip_sync mouth_amplitude dynamics sharpness mouth_sharpness identity".split()
    figures = dict.fromkeys([*names, "latent_shift", "latent_spread"], 0.5 + k / 100)
    times = [float(s) for s in range(0, seconds[-1], 20)]
    report = {
        "marks": {f"{s}": dict(figures) for s in seconds},
        "identity_slope": 0.0,
        "ms": {"student": 20.0, "decode": 30.0},
        "rtf": 0.3,
        "curve": {"s": times, "identity": [0.1] * len(times), "dynamics": [1.0] * len(times)},
    }
    frames = np.random.default_rng(k).integers(0, 255, (100, 24, 24, 3), np.uint8)
    kept = {mark: np.full((4, 28, 8, 8), float(k)) for mark in report["marks"]}
    kept["curve"] = np.full((len(times), 112, 8, 8), float(k))
    return Watched(report, frames, kept)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """`measure` without a model; the variants that were watched."""
    watched: list[str] = []

    def made(judge: object, variant: Variant, look: int, minutes: float) -> Watched:
        if len(watched) == 5 and "stop" in watched:
            raise KeyboardInterrupt
        watched.append(variant.key)
        return made_up(Job(variant, LOOKS[0], minutes), len(watched))

    monkeypatch.setattr(ablation, "Judge", lambda reference: None)
    monkeypatch.setattr(ablation, "VariantModel", lambda variant: variant)
    monkeypatch.setattr(ablation, "watch", made)
    return watched


def measured(reference: QualitySet, folder: Path, **other: Any) -> dict[str, Any]:
    options: dict[str, Any] = {"minutes": 10, "names": LOOKS} | other
    return ablation.measure(
        reference, out=folder / "ablation.json", kept=folder / "kept", **options
    )


def test_a_stopped_run_goes_on(reference: QualitySet, tmp_path: Path, quick: list[str]) -> None:
    quick.append("stop")
    with pytest.raises(KeyboardInterrupt):
        measured(reference, tmp_path)
    quick.clear()
    report = measured(reference, tmp_path)
    jobs = plan(10, LOOKS)
    assert [stream["key"] for stream in report["streams"]] == [job.key for job in jobs]
    assert len(quick) == len(jobs) - 4
    assert report == json.loads((tmp_path / "ablation.json").read_text())
    quick.clear()
    assert measured(reference, tmp_path) == report and not quick
    taught, second, *_ = report["streams"]
    assert taught["marks"]["600"]["from_taught"] == 0
    assert second["marks"]["600"]["from_taught"] == 1
    assert second["curve"]["from_taught"] == [1] * len(second["curve"]["s"])
    with pytest.raises(ValueError, match="minutes 10, not 5"):
        measured(reference, tmp_path, minutes=5)
    with pytest.raises(ValueError, match="unknown look 'nobody'"):
        measured(reference, tmp_path, names=["nobody"])


def test_without_names_two_people_and_a_scene_are_watched(
    reference: QualitySet, tmp_path: Path, quick: list[str]
) -> None:
    looks = measured(reference, tmp_path, names=[])["looks"]
    entries = {look.name: look for look in reference.looks}
    assert [entries[name].kind for name in looks] == ["avatar", "avatar", "scene"]
    assert entries[looks[0]].identity != entries[looks[1]].identity


@pytest.fixture
def report(reference: QualitySet, tmp_path: Path, quick: list[str]) -> dict[str, Any]:
    return measured(reference, tmp_path)


def test_tables_stand_between_the_markers(report: dict[str, Any], tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n\n{BEGIN}\nold\n{END}\n\nafter\n")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "ablation-drift.svg").touch()
    write_tables(report, page)
    text = page.read_text()
    assert text.startswith(f"before\n\n{BEGIN}\n") and text.endswith(f"{END}\n\nafter\n")
    assert "old" not in text and "(images/ablation-drift.svg)" in text
    assert "(images/ablation-steps.svg)" not in text, "there is no such picture"
    assert "| static sink (as taught) | .51 / .51 / .51 |" in text
    assert "| no sink | 2 chunks |" in text
    for line in text.splitlines():
        assert not line.startswith("|") or line.count("|") in (8, 11)
    write_tables(report, page)
    assert page.read_text() == text
    page.write_text("no markers")
    with pytest.raises(ValueError, match="no place for tables"):
        write_tables(report, page)


def test_plots_show_every_variant(report: dict[str, Any], tmp_path: Path) -> None:
    paths = plot(report, tmp_path / "images")
    drawn = {path.name: ElementTree.fromstring(path.read_text()) for path in paths}
    styles = {
        name: [path.attrib["style"] for path in root.findall(".//{*}path[@clip-path]")]
        for name, root in drawn.items()
    }
    # the grid is see-through
    lines = [s for s in styles["ablation-drift.svg"] if "stroke-opacity" not in s]
    assert len(lines) == 3 * len(LONG)
    # five measures and the cost of each
    assert sum("fill: #" in style for style in styles["ablation-steps.svg"]) == 3 * 5 + 3
    report["streams"] = [s for s in report["streams"] if s["variant"]["steps"] != 4]
    with pytest.raises(ValueError, match="static-w5-s4 of mei-gallery is not measured yet"):
        plot(report, tmp_path)


def test_a_clip_shows_streams_side_by_side(report: dict[str, Any], tmp_path: Path) -> None:
    keys = [Job(variant, LOOKS[0], 10).key for variant in (NO_SINK, TAUGHT)]
    path = tmp_path / "clip.webp"
    size = write_clip(report, tmp_path / "kept", keys, ["no sink", "static"], path)
    with Image.open(path) as clip:
        assert clip.size == (48, 24 + 22) and clip.info["loop"] == 0
    assert size == path.stat().st_size <= 400_000
    with pytest.raises(ValueError, match="unknown stream 'nothing'"):
        write_clip(report, tmp_path / "kept", ["nothing"], ["x"], path)
    with pytest.raises(FileNotFoundError, match="measure again"):
        write_clip(report, tmp_path, keys, ["a", "b"], path)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["bench", "ablation", *arguments])
    return int(end.value.code or 0)


def test_mistakes_are_named(
    report: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--out", str(tmp_path / "none.json"), "--plot", str(tmp_path)) == 2
    assert "none.json is missing; measure first" in capsys.readouterr().err
    out = ("--out", str(tmp_path / "ablation.json"), "--kept", str(tmp_path / "kept"))
    clip = str(tmp_path / "clip.webp")
    assert run(*out, "--clip", clip) == 2
    assert "--of" in capsys.readouterr().err
    assert run(*out, "--clip", clip, "--of", "none-w5-s2=no sink,static-w5-s2") == 0
    assert "clip.webp" in capsys.readouterr().out
