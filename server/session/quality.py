"""What a stream gives up while the machine is too slow for all of them."""

from __future__ import annotations

from dataclasses import dataclass

from ...models.contract import FULL, Economy


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How a stream is made and sent; `level` counts from 0, everything, and `why` is for people.

    `more_lead_chunks` are made ahead beyond the usual lead, the bitrate is at most `bitrate_share`
    of what it would be, pictures are at most `size_share` as wide and high as the model's, and of
    each chunk is left out what `economy` says.
    """

    level: int = 0
    why: str | None = None
    more_lead_chunks: float = 0.0
    bitrate_share: float = 1.0
    size_share: float = 1.0
    economy: Economy = FULL


BEST = Quality()
"""Everything."""
