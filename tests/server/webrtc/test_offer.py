"""Offers are read as browsers, OBS and ffmpeg write them, and bounded."""

from __future__ import annotations

import random

import pytest

from rollcast.server.protocol.errors import InvalidField, UnsupportedCodec
from rollcast.server.webrtc.offer import choose_codec, read_fragment, read_offer

from .sdp import CANDIDATE, CHANNEL, HEAD, audio, video


def test_what_a_page_offers() -> None:
    offer = read_offer(HEAD + video() + audio() + CHANNEL)
    assert offer.codecs == ("vp8", "h264")
    assert (offer.takes_sound, offer.sends_sound, offer.sends_video) == (True, True, False)
    assert offer.has_channel
    assert choose_codec(offer, ("h264", "vp8", "jpeg")) == "h264"
    assert choose_codec(offer, ("vp8", "jpeg")) == "vp8"


def test_what_a_publisher_offers() -> None:
    offer = read_offer(HEAD + video("sendonly") + audio("sendonly"))
    assert (offer.codecs, offer.takes_sound) == ((), False)
    assert (offer.sends_sound, offer.sends_video, offer.has_channel) == (True, True, False)


@pytest.mark.parametrize(
    "fmtp",
    [
        "a=fmtp:102 packetization-mode=0;profile-level-id=42e01f",
        "a=fmtp:102 packetization-mode=1;profile-level-id=640c1f",
    ],
)
def test_h264_that_is_not_ours_is_none(fmtp: str) -> None:
    offer = read_offer(HEAD + video("recvonly", "a=rtpmap:102 H264/90000", fmtp))
    with pytest.raises(UnsupportedCodec, match="baseline"):
        choose_codec(offer, ("h264", "vp8"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no media"),
        ("hello", "no media"),
        (HEAD, "no media"),
        (HEAD + video().replace("a=ice-ufrag:abcd\r\n", ""), "ICE or DTLS"),
        (HEAD + audio() * 9, "at most 8 media"),
        (HEAD + audio() + CANDIDATE * 65, "64 candidates"),
        (HEAD + "m=video x UDP/TLS/RTP/SAVPF 96\r\n", "no SDP"),
        (HEAD + audio() + "a=candidate:nonsense\r\n", "no SDP"),
    ],
)
def test_what_is_no_offer_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidField, match=message):
        read_offer(text)


def test_a_fragment_names_candidates_of_its_media() -> None:
    user, found = read_fragment(
        "a=ice-ufrag:abcd\r\na=ice-pwd:x\r\nm=audio 9 RTP/AVP 0\r\na=mid:1\r\n" + CANDIDATE * 2
    )
    assert user == "abcd"
    assert [(each.ip, each.port, each.sdpMid) for each in found] == [("192.0.2.1", 5000, "1")] * 2
    with pytest.raises(InvalidField, match="no candidate"):
        read_fragment("a=candidate:nonsense")
    with pytest.raises(InvalidField, match="at most 64"):
        read_fragment("m=audio 9 RTP/AVP 0\r\n" + CANDIDATE * 65)


def test_whatever_is_sent_is_read_or_refused() -> None:
    """What found the library's own mistakes was changing single lines of real offers."""
    page = (HEAD + video() + audio() + CHANNEL).split("\r\n")
    chance = random.Random(5)
    for _ in range(400):
        lines = list(page)
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(lines))
            line = lines[place]
            other = (
                *("", line[: chance.randint(0, len(line))], chance.choice(page)),
                line.replace(chance.choice(line or "x"), chr(chance.randrange(32, 500)), 1),
            )
            lines[place] = chance.choice(other)
        try:
            read_offer("\r\n".join(lines))
        except InvalidField as error:
            assert error.field == "sdp"
