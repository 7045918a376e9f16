"""The list of clips: counts, names and seeds."""

from training.data.behaviour import EXPRESSIONS
from training.data.clips import expression_of, knows_voice
from training.data.languages import LANGUAGES
from training.data.plan import PRESETS, plan


def test_full_preset_has_the_promised_clips() -> None:
    jobs = plan(PRESETS["full"])
    count = {
        (kind, split): sum(j.kind == kind and j.split == split for j in jobs)
        for kind in ("avatar", "scene", "audio")
        for split in ("train", "test")
    }
    assert count == {
        ("avatar", "train"): 304,
        ("avatar", "test"): 48,
        ("scene", "train"): 72,
        ("scene", "test"): 16,
        ("audio", "train"): 3720,
        ("audio", "test"): 96,
    }


def test_names_and_seeds_are_unique() -> None:
    jobs = plan(PRESETS["full"])
    assert len({j.name for j in jobs}) == len(jobs)
    assert len({tuple(j.seed) for j in jobs}) == len(jobs)


def test_a_clip_keeps_its_seed_in_any_preset() -> None:
    full = {j.name: j.seed for j in plan(PRESETS["full"])}
    assert all(full[j.name] == j.seed for j in plan(PRESETS["smoke"]))


def test_every_look_shows_every_expression_in_training() -> None:
    shown: dict[str, set[int]] = {}
    for job in plan(PRESETS["full"]):
        if job.split == "train" and job.look in PRESETS["full"].looks:
            shown.setdefault(job.look, set()).add(expression_of(job))
    assert len(shown) == 16
    assert all(seen == set(range(len(EXPRESSIONS))) for seen in shown.values())


def test_faces_speak_each_other_language_in_a_known_and_in_a_held_out_voice() -> None:
    said = [job for job in plan(PRESETS["full"]) if job.split == "foreign"]
    for code in LANGUAGES:
        known = {knows_voice(job) for job in said if job.language == code}
        assert known == {True, False}, code
        assert all(expression_of(job) == 0 for job in said)


def test_visitors_speak_all_languages() -> None:
    spoken = {job.language for job in plan(PRESETS["full"]) if job.look.startswith("visitor-")}
    assert spoken == {"en", *LANGUAGES}
