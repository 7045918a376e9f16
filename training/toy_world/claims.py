"""What papers claim, as pairs of rows whose difference the comparison can see or not."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Way = Literal["more", "less", "no less"]
Row = Mapping[str, Any]
_LEAST = 0.01
_FEWEST = 2


@dataclass(frozen=True, slots=True)
class Side:
    """Rows of a student: sampled with so many steps, so long, so guided, through that window."""

    method: str
    steps: int = 4
    times: int = 1
    guidance: float = 1.0
    window: str = ""

    def has(self, row: Row) -> bool:
        """Whether `row` is one of these."""
        own = (
            row.get("method"),
            row.get("steps"),
            row.get("times"),
            row.get("guidance", 1.0),
            row.get("window", ""),
        )
        return own == (self.method, self.steps, self.times, self.guidance, self.window)

    def __str__(self) -> str:
        guided = f" w {self.guidance:g}" if self.guidance != 1 else ""
        length = f", {self.times}x" if self.times > 1 else ""
        return f"{self.method}{guided}{self.window and ' '}{self.window}, {self.steps}{length}"


@dataclass(frozen=True, slots=True)
class Claim:
    """`who` has more or less of a measure than `than`, in the words of `says`."""

    says: str
    who: Side
    way: Way
    measure: str
    than: Side


@dataclass(frozen=True, slots=True)
class Verdict:
    """A claim with the mean difference over `seeds`, and the spread it is held against."""

    claim: Claim
    difference: float
    spread: float
    seeds: int

    @property
    def reproduced(self) -> str:
        """Yes or no where the difference is beyond the spread, which takes two seeds."""
        if self.seeds < _FEWEST:
            return "one seed"
        gain = -self.difference if self.claim.way == "less" else self.difference
        if self.claim.way == "no less":
            return "yes" if gain > -self.spread else "no"
        if abs(gain) <= self.spread:
            return "within the spread"
        return "yes" if gain > 0 else "no, the other way"


def verdicts(
    rows: Sequence[Row], floor: Mapping[str, tuple[float, float]], claims: Sequence[Claim]
) -> list[Verdict]:
    """Of those claims whose two sides have a seed in common.

    Differences are of one seed each, which both sides began with. Their spread counts as no less
    than that of two clips' worth of truth, whose mean and spread by measure is `floor`, nor than a
    hundredth each: three seeds may lie together by chance.
    """
    found = []
    for claim in claims:
        who, than = (_by_seed(rows, side, claim.measure) for side in (claim.who, claim.than))
        apart = [who[seed] - than[seed] for seed in sorted(who.keys() & than.keys())]
        if not apart:
            continue
        least = math.sqrt(2) * max(_LEAST, floor[claim.measure][1])
        spread = statistics.stdev(apart) if len(apart) > 1 else 0.0
        found.append(Verdict(claim, statistics.fmean(apart), max(spread, least), len(apart)))
    return found


def _by_seed(rows: Sequence[Row], side: Side, measure: str) -> dict[int, float]:
    kept = {row["seed"]: float(row[measure]) for row in rows if side.has(row)}
    return {seed: value for seed, value in kept.items() if math.isfinite(value)}


_DMD2, _FLOW = Side("dmd2"), Side("flow", 10)
_SPARSE = Side("sparse-after", window="sparse")
_LONG = 10


def _long(method: str) -> Side:
    return Side(method, times=_LONG)


CLAIMS = (
    Claim("DMD2: few steps are mended", _DMD2, "more", "legal", Side("flow")),
    Claim("DMD2: four steps are as good as many", _DMD2, "no less", "legal", _FLOW),
    Claim("Self Forcing: errors do not grow", _long("dmd2"), "no less", "legal", _DMD2),
    Claim(
        "DMD2: inputs have to be the student's own",
        _DMD2, "more", "legal", Side("dmd2-real-inputs"),
    ),
    Claim(
        "DMD2: the fake score has a time scale of its own",
        _DMD2, "more", "legal", Side("dmd2-one-time-scale"),
    ),
    Claim("Distribution matching costs shapes", _DMD2, "more", "shape_tv", _FLOW),
    Claim("Guidance costs diversity", Side("dmd2-guided"), "less", "hue_spread", _DMD2),
    Claim(
        "Guidance costs a teacher's diversity",
        Side("scorer", 24, guidance=2.0), "less", "hue_spread", Side("scorer", 24),
    ),
    Claim("Regression is blank", Side("regression", 1), "less", "legal", Side("dmd2", 1)),
    Claim("Phased DMD: more motion", Side("phased"), "more", "motion", _DMD2),
    Claim("Phased DMD: more diversity", Side("phased"), "more", "hue_spread", _DMD2),
    Claim(
        "Phased DMD: its target has to be unbiased",
        Side("phased"), "less", "fixed_cf", Side("phased-biased"),
    ),
    Claim(
        "Decoupled DMD: matching shields",
        Side("decoupled"), "more", "legal", Side("decoupled-guidance-alone"),
    ),
    Claim("TDM: as good as DMD2 at four steps", Side("tdm"), "no less", "legal", _DMD2),
    Claim(
        "TDM-unify: one step of who is told", Side("tdm-told", 1), "more", "legal", Side("tdm", 1)
    ),
    Claim(
        "TDM-unify: four steps lose by the others unless they are told",
        Side("tdm-told"), "more", "legal", Side("tdm-any-steps"),
    ),
    Claim(
        "TDM-unify: four steps are no worse than two",
        Side("tdm-told", 4), "no less", "legal", Side("tdm-told", 2),
    ),
    Claim(
        "TDM-unify: two steps are no worse than one",
        Side("tdm-told", 2), "no less", "legal", Side("tdm-told", 1),
    ),
    Claim("f-distill: js keeps more modes", Side("f-js"), "less", "shape_tv", Side("f-rkl")),
    Claim("f-distill: kl keeps more modes", Side("f-kl"), "less", "shape_tv", Side("f-rkl")),
    Claim("SiD: as good as DMD2 without data", Side("sid"), "no less", "legal", _DMD2),
    Claim(
        "SiD: zero-CFG keeps diversity",
        Side("sid-zero"), "more", "hue_spread", Side("sid-guided"),
    ),
    Claim(
        "SiD: anti-CFG keeps diversity",
        Side("sid-anti"), "more", "hue_spread", Side("sid-guided"),
    ),
    Claim(
        "MDT-dist: distilling adds to matching",
        Side("mdt", 1), "more", "legal", Side("mdt-matching-alone", 1),
    ),
    Claim("Re-DMD: more motion", Side("re-dmd"), "more", "motion", _DMD2),
    Claim(
        "MSD: several small students beat one",
        Side("small-by-mood"), "more", "legal", Side("small"),
    ),
    Claim("FlashWorld: two modes help each other", Side("cross-mode"), "more", "legal", _DMD2),
    Claim(
        "Adversarial training beside it is sharper",
        Side("adversarial-hinge"), "less", "sliced", _DMD2,
    ),
    Claim(
        "BLADE: taught sparse is better than made sparse",
        Side("blade", window="sparse"), "more", "legal", _SPARSE,
    ),
    Claim(
        "BLADE: nothing is lost",
        Side("blade", window="sparse"), "no less", "legal", Side("sparse-after", window="dense"),
    ),
    Claim(
        "Reward Forcing: an averaging sink copies less",
        _long("dmd2-ema-.99"), "less", "copying", _long("dmd2"),
    ),
    Claim(
        "Reward Forcing: an averaging sink drifts less than none",
        _long("dmd2-ema-.99"), "less", "hue_drift", _long("dmd2-no-sink"),
    ),
    Claim(
        "A sink holds identity", _long("dmd2"), "less", "hue_drift", _long("dmd2-no-sink")
    ),
    Claim(
        "Live Avatar: a reference that rolls along holds identity longer",
        _long("dmd2"), "less", "hue_drift", _long("dmd2-sink-left-behind"),
    ),
)  # fmt: skip
"""In the order of the page."""
