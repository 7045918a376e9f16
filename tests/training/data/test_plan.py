"""The list of clips: counts, names and seeds."""

from training.data.behaviour import EXPRESSIONS
from training.data.clips import expression_of
from training.data.plan import PRESETS, plan


def test_full_preset_has_the_promised_clips() -> None:
    jobs = plan(PRESETS["full"])
    count = {
        (kind, split): sum(j.kind == kind and j.split == split for j in jobs)
        for kind in ("avatar", "scene", "audio")
        for split in ("train", "test")
    }
    assert count == {
        ("avatar", "train"): 240,
        ("avatar", "test"): 48,
        ("scene", "train"): 72,
        ("scene", "test"): 16,
        ("audio", "train"): 2400,
        ("audio", "test"): 48,
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
        if job.kind == "avatar" and job.split == "train" and not job.look.startswith("stranger"):
            shown.setdefault(job.look, set()).add(expression_of(job))
    assert len(shown) == 16
    assert all(seen == set(range(len(EXPRESSIONS))) for seen in shown.values())
