"""What a client sees through a relay is one stream, whichever replicas made it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rollcast.models.contract import StreamRequest
from rollcast.models.test_pattern import TestPattern
from rollcast.server.fleet.kept_uplink import MOST_BYTES, KeptUplink
from rollcast.server.fleet.relay import AHEAD_S, SILENT_S, Relay
from rollcast.server.handover.records import FORMAT, Origin
from rollcast.server.handover.writer import JournalWriter
from rollcast.server.protocol.client_messages import Pause, Resume
from rollcast.server.protocol.packets import Flags, Kind, Packet, encode_packet, parse_packet
from rollcast.server.session.options import SessionOptions
from rollcast.server.session.session import Session

RATE, FPS = 16_000, 25


def ready(generation: int = 0, **more: Any) -> bytes:
    plain = {
        "type": "session.ready",
        "session_id": "s",
        "resume_token": "t",
        "model": "m",
        "width": 8,
        "height": 8,
        "fps": FPS,
        "chunk_frames": 4,
        "codec": "jpeg",
        "codec_string": "jpeg",
        "generation": generation,
        "grace_s": 30.0,
        "sample_rate": RATE,
        "audio_codec": "pcm",
        "unknown": 1,
    }
    return json.dumps(plain | more).encode()


def relay() -> Relay:
    return Relay.opened(ready(), epoch=0, replica="a", now_s=10.0)


def video(seq: int, generation: int = 0, server_ms: float = 1.0) -> bytes:
    us = seq * 1e6 / FPS
    return encode_packet(
        Packet(Kind.VIDEO, Flags.NONE, seq, us, seq // 4, generation, server_ms, b"picture")
    )


def sound(seq: int, chunk: int, skip: int = 0, flags: Flags = Flags.NONE) -> bytes:
    samples = bytes(range(256)) * 20
    begin = chunk * 2560 + skip
    return encode_packet(
        Packet(Kind.AUDIO_OUT, flags, seq, begin * 1e6 / RATE, chunk, 0, 1.0, samples[2 * skip :])
    )


def down(it: Relay, data: bytes, *, is_text: bool = False) -> bytes | None:
    return it.from_replica(data, is_text=is_text, now_s=10.0).data


def says(it: Relay, **message: Any) -> bool:
    return it.from_client(json.dumps(message).encode(), is_text=True)


def move(it: Relay, generation: int = 1) -> list[bytes]:
    assert not it.begin_move(), "there is no journal here"
    _, again = it.moved(ready(generation), epoch=1, replica="b", now_s=11.0)
    return [each.data for each in again]


def test_what_needs_no_change_passes_as_it_is() -> None:
    it = relay()
    for data in (video(0), video(1), sound(0, 0), sound(1, 1)):
        assert down(it, data) is data
    assert down(it, b'{"type":"stats","chunk":1}', is_text=True) == b'{"type":"stats","chunk":1}'
    assert down(it, b"no json", is_text=True) == b"no json"


def test_after_a_move_frames_come_once_and_sound_without_a_gap_or_an_overlap() -> None:
    it = relay()
    seen = [down(it, video(seq)) for seq in range(6)]
    assert all(seen)
    down(it, sound(0, 0))
    down(it, sound(1, 1))
    move(it)
    assert [down(it, video(seq, 1)) is not None for seq in range(4, 9)] == [
        *(False, False),
        *(True, True, True),
    ]
    # of the chunk in the middle of which it went on all sound is there already
    assert down(it, sound(7, 1, skip=1280)) is None
    following = down(it, sound(8, 2))
    assert following is not None and parse_packet(following).seq == 2
    assert parse_packet(following).pts_us == 2 * 2560 * 1e6 / RATE


def test_sound_that_the_client_has_in_part_is_cut() -> None:
    it = relay()
    down(it, sound(0, 0))
    move(it)
    data = sound(5, 0, skip=0)
    longer = data + bytes(2 * 100)
    cut = down(it, longer)
    assert cut is not None
    packet = parse_packet(cut)
    assert (packet.seq, len(packet.payload)) == (1, 200)
    assert packet.pts_us == pytest.approx(2560 * 1e6 / RATE)


def test_clocks_agree_after_a_move() -> None:
    it = relay()
    it.clock(1000.0)
    assert down(it, video(0, 0, 5000.0)) == video(0, 0, 5000.0)
    move(it)
    it.clock(-500.0)
    data = down(it, video(1, 1, 3600.0))
    assert data is not None and parse_packet(data).server_ms == 5100.0
    pong = down(it, b'{"type":"pong","t_ms":1,"server_ms":3600.0}', is_text=True)
    assert pong is not None and json.loads(pong)["server_ms"] == 5100.0


def test_controls_are_said_again_and_answered_once() -> None:
    it = relay()
    assert says(it, type="prompt", event_id="e1", text="a")
    assert says(it, type="ack", playhead_us=40_000, last_seq=1)
    assert says(it, type="prompt", event_id="e2", text="b")
    applied = b'{"type":"applied","event_id":"e1","chunk":1,"pts_us":0}'
    assert down(it, applied, is_text=True) == applied
    it.begin_move()
    assert not says(it, type="scene", event_id="e3", scene="x"), "nobody is there to hear it"
    again = move_on(it)
    kinds = [json.loads(each)["type"] for each in again]
    assert kinds == ["prompt", "prompt", "scene", "ack"]
    assert down(it, applied, is_text=True) is None
    for name in ("e2", "e3"):
        other = applied.replace(b"e1", name.encode())
        assert down(it, other, is_text=True) == other
        assert down(it, other, is_text=True) is None


def move_on(it: Relay) -> list[bytes]:
    _, again = it.moved(ready(1), epoch=1, replica="b", now_s=11.0)
    return [each.data for each in again]


def test_an_event_id_that_is_used_twice_is_answered_twice() -> None:
    it = relay()
    says(it, type="prompt", event_id="e", text="a")
    says(it, type="prompt", event_id="e", text="b")
    applied = b'{"type":"applied","event_id":"e","chunk":1,"pts_us":0}'
    assert [down(it, applied, is_text=True) is not None for _ in range(3)] == [True, True, False]


def test_what_is_told_of_an_utterance_is_told_once() -> None:
    it = relay()
    says(it, type="audio.begin", event_id="b", item_id="i")
    told = [
        f'{{"type":"speech","item_id":"i","phase":"{phase}"}}'.encode()
        for phase in ("started", "started", "ended", "ended")
    ]
    assert [down(it, each, is_text=True) is not None for each in told] == [True, False, True, False]


def test_acks_that_come_close_behind_each_other_are_one() -> None:
    it = relay()

    def shown(number: int, now_s: float) -> bool:
        ack = b'{"type":"ack","playhead_us":%d,"last_seq":%d}' % (40_000 * number, number)
        return it.from_client(ack, is_text=True, now_s=now_s)

    assert [shown(number, 10.0 + 0.04 * number) for number in range(5)] == [1, 0, 1, 0, 1]
    assert it.take_ack(10.2) is None, "the replica knows the latest"
    assert not shown(5, 10.2)
    taken = it.take_ack(10.25)
    assert taken is not None and b"200000" in taken and it.take_ack(10.25) is None
    # messages are counted as they are sent: what is said now is the fifth
    says(it, type="prompt", event_id="e", text="a")
    it.uplink.written(4, [])
    assert len(it.uplink) == 1
    it.uplink.written(5, [])
    assert not len(it.uplink)
    # and where the stream goes on, the latest is said last
    assert not shown(6, 10.26)
    it.begin_move()
    assert not shown(7, 10.30) and it.take_ack(10.31) is None
    assert b"280000" in move_on(it)[-1] and it.take_ack(10.4) is None


def test_where_a_stream_goes_on_the_replica_hears_where_its_viewer_is_by_now() -> None:
    """And not where it was when it said so: the next chunk would be begun as much later."""
    it = left_at_100_ms(Resume(event_id="r"), frames=10, decode_queue=3)
    assert it.adoption(1, now_s=10.6).position_us == pytest.approx(200_000)
    assert it.adoption(1, now_s=10.75).position_us == pytest.approx(350_000)
    assert it.adoption(1, now_s=99.0).position_us == 400_000, "it has no more than ten frames"
    assert it.adoption(1, now_s=10.4).position_us == 100_000
    _, again = it.moved(ready(1), epoch=1, replica="b", now_s=10.6)
    said = json.loads(again[-1].data)
    assert said.pop("playhead_us") == pytest.approx(200_000)
    assert said == {"type": "ack", "last_seq": 1, "decode_queue": 3}


def test_a_viewer_that_said_nothing_for_long_is_not_believed_to_go_on() -> None:
    it = left_at_100_ms(Resume(event_id="r"), frames=25)
    assert it.adoption(1, now_s=20.0).position_us == pytest.approx(100_000 + AHEAD_S * 1e6)


def test_a_viewer_that_stands_still_is_where_it_was() -> None:
    it = left_at_100_ms(Pause(event_id="p"), frames=10)
    assert it.adoption(1, now_s=10.6).position_us == 100_000
    assert json.loads(move_on(it)[-1])["playhead_us"] == 100_000


def left_at_100_ms(control: Pause | Resume, *, frames: int, **more: Any) -> Relay:
    """A stream that moves; its client was sent so many frames and said at 10.5 s where it was."""
    it = relay()
    written(it, control)
    for seq in range(frames):
        down(it, video(seq))
    ack = {"type": "ack", "playhead_us": 100_000, "last_seq": 1, **more}
    it.from_client(json.dumps(ack).encode(), is_text=True, now_s=10.5)
    assert it.begin_move()
    return it


def written(it: Relay, control: Pause | Resume) -> None:
    """A replica has written down a stream whose client said this."""
    made = SessionOptions(session_id="s", resume_token="t", request=StreamRequest(seed=1))
    session = Session(TestPattern().info, made, 9.0)
    session.receive(control, 9.0)
    writer = JournalWriter(Origin(FORMAT, "test-pattern", made))
    writer.write(session, 0, 9.0)
    writer.attach()
    while (data := writer.take()) is not None:
        assert down(it, data) is None


def test_a_replica_that_goes_is_left_and_the_client_does_not_hear_of_it() -> None:
    it = relay()
    for text in (b'{"type":"draining","retry_after_s":5}', b'{"type":"error","code":"draining"}'):
        said = it.from_replica(text, is_text=True, now_s=10.0)
        assert said.move and said.data is None


def test_silence_counts_while_it_is_live() -> None:
    it = relay()
    assert not it.silent(10.0 + SILENT_S) and it.silent(10.1 + SILENT_S)
    it.begin_move()
    assert not it.silent(99.0)
    assert not it.begin_move(), "one mover"


def test_an_answer_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="answered"):
        Relay.opened(b'{"type":"session.ready"}', epoch=0, replica="a", now_s=0.0)


def test_what_was_written_down_is_not_said_again() -> None:
    kept = KeptUplink()
    for number in range(5):
        kept.keep(b"%d" % number, is_text=True, sent=True)
    kept.pass_on()
    kept.keep(b"5", is_text=True, sent=True)
    kept.written(4, [2])
    assert [each.data for each in kept.again()] == [b"1", b"4", b"5"]
    kept.written(3, [])
    assert not len(kept), "they have new numbers on the new connection"


def test_what_is_kept_is_bounded() -> None:
    kept = KeptUplink()
    for _ in range(10):
        kept.keep(bytes(MOST_BYTES // 4), is_text=False, sent=True)
    assert len(kept) == 4
