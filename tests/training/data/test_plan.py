"""The list of clips: counts, names and seeds."""

from training.data.plan import PRESETS, plan


def test_full_preset_has_the_promised_clips() -> None:
    jobs = plan(PRESETS["full"])
    count = {
        (kind, split): sum(j.kind == kind and j.split == split for j in jobs)
        for kind in ("avatar", "scene", "audio")
        for split in ("train", "test")
    }
    assert count == {
        ("avatar", "train"): 128,
        ("avatar", "test"): 32,
        ("scene", "train"): 42,
        ("scene", "test"): 12,
        ("audio", "train"): 1600,
        ("audio", "test"): 40,
    }


def test_names_and_seeds_are_unique() -> None:
    jobs = plan(PRESETS["full"])
    assert len({j.name for j in jobs}) == len(jobs)
    assert len({tuple(j.seed) for j in jobs}) == len(jobs)


def test_a_clip_keeps_its_seed_in_any_preset() -> None:
    full = {j.name: j.seed for j in plan(PRESETS["full"])}
    assert all(full[j.name] == j.seed for j in plan(PRESETS["smoke"]))
