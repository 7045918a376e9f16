"""Streams that nobody watches or speaks to: they lose their places to those who wait."""

from __future__ import annotations

from collections.abc import Iterable

from .hosted_stream import HostedStream


def longest_unwatched(
    streams: Iterable[HostedStream], now_s: float, after_s: float
) -> HostedStream | None:
    """The connected stream that was not watched for the longest time, if that is `after_s`.

    One whose connection was lost keeps its place for the time in which it may be resumed.
    """
    idle = [each for each in streams if each.session.unwatched_s(now_s) >= after_s]
    connected = [each for each in idle if each.session.attached]
    return max(connected, key=lambda each: each.session.unwatched_s(now_s), default=None)
