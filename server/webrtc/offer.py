"""What an SDP offer asks for, and the candidates of a trickled fragment: read, and bounded."""

from __future__ import annotations

from dataclasses import dataclass

from aiortc import RTCIceCandidate
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.sdp import MediaDescription, SessionDescription, candidate_from_sdp

from ..protocol.errors import InvalidField, UnsupportedCodec
from ..protocol.fields import Codec

MAX_MEDIA = 8
MAX_CANDIDATES = 64
"""Of one peer: to each of them the server sends something."""
RECEIVING = ("recvonly", "sendrecv")
SENDING = ("sendonly", "sendrecv")
_HINT = "Send the offer of an RTCPeerConnection, as application/sdp."


@dataclass(frozen=True, slots=True)
class Offer:
    """An offer: its text, the codecs in which it takes a picture, and what else it has."""

    sdp: str
    codecs: tuple[Codec, ...]
    takes_sound: bool
    sends_sound: bool
    sends_video: bool
    has_channel: bool


def read_offer(text: str) -> Offer:
    """Raises InvalidField for what is no offer that could be answered."""
    try:
        said = SessionDescription.parse(text)
        kinds = [each.kind for each in said.media]
        candidates = sum(len(each.ice_candidates) for each in said.media)
        with_keys = all(_has_keys(each) for each in said.media if each.port)
    except Exception as error:
        # the library trusts what it parses, and fails at the rest in any way
        raise InvalidField(f"this is no SDP: {error!r}", field="sdp", hint=_HINT) from None
    if not kinds:
        raise InvalidField("the offer has no media", field="sdp", hint=_HINT)
    if len(kinds) > MAX_MEDIA or candidates > MAX_CANDIDATES:
        raise InvalidField(
            f"an offer has at most {MAX_MEDIA} media and {MAX_CANDIDATES} candidates", field="sdp"
        )
    if not with_keys:
        raise InvalidField("the offer has no ICE or DTLS parameters", field="sdp", hint=_HINT)
    video = [each for each in said.media if each.kind == "video"]
    audio = [each for each in said.media if each.kind == "audio"]
    codecs: list[Codec] = []
    for media in video:
        if media.direction in RECEIVING:
            for each in media.rtp.codecs:
                codecs += _codecs(each)
    return Offer(
        sdp=text,
        codecs=tuple(dict.fromkeys(codecs)),
        takes_sound=any(each.direction in RECEIVING for each in audio),
        sends_sound=any(each.direction in SENDING for each in audio),
        sends_video=any(each.direction in SENDING for each in video),
        has_channel="application" in kinds,
    )


def choose_codec(offer: Offer, usable: tuple[Codec, ...]) -> Codec:
    """The server's best codec that the offer takes. Raises UnsupportedCodec if there is none."""
    chosen: Codec | None = next((each for each in usable if each in offer.codecs), None)
    if chosen is None:
        raise UnsupportedCodec(
            "the offer takes no video that this server sends: H.264 of a baseline profile with "
            "packetization-mode 1, or VP8",
            field="sdp",
            hint="Offer to receive video in one of these.",
        )
    return chosen


def read_fragment(text: str) -> tuple[str | None, list[RTCIceCandidate]]:
    """The ICE user fragment and the candidates of an SDP fragment. Raises InvalidField."""
    user, mid, index = None, None, -1
    found: list[RTCIceCandidate] = []
    for line in text.splitlines():
        name, _, value = line.strip().partition(":")
        if line.startswith("m="):
            index, mid = index + 1, None
        elif name == "a=ice-ufrag":
            user = value
        elif name == "a=mid":
            mid = value
        elif name == "a=candidate":
            try:
                candidate = candidate_from_sdp(value)
            except Exception as error:  # see read_offer
                raise InvalidField(f"this is no candidate: {value[:80]!r}", field="sdp") from error
            candidate.sdpMid, candidate.sdpMLineIndex = mid, max(index, 0)
            found.append(candidate)
    if len(found) > MAX_CANDIDATES:
        raise InvalidField(f"a peer has at most {MAX_CANDIDATES} candidates", field="sdp")
    return user, found


def _has_keys(media: MediaDescription) -> bool:
    secret = media.ice is not None and media.ice.usernameFragment and media.ice.password
    return bool(secret and media.dtls is not None and media.dtls.fingerprints)


def _codecs(codec: RTCRtpCodecParameters) -> tuple[Codec, ...]:
    """Ours that this one is, if any."""
    if codec.mimeType.lower() == "video/vp8":
        return ("vp8",)
    parameters = codec.parameters
    baseline = str(parameters.get("profile-level-id", "42")).lower().startswith("42")
    whole = str(parameters.get("packetization-mode", 0)) == "1"
    if codec.mimeType.lower() == "video/h264" and baseline and whole:
        return ("h264",)
    return ()
