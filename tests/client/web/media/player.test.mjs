import assert from "node:assert/strict";
import { test } from "node:test";

import { Player } from "../../../../client/web/media/player.js";
import { FLAG, KIND } from "../../../../client/web/net/protocol.js";
import { FakePicture } from "../fakes.mjs";

const READY = { fps: 25, resumed: false, codec: "h264", codec_string: "avc1.42c00a" };
const SOME_BYTES = new Uint8Array(8);

function packet(seq, { key = seq === 0, generation = 0 } = {}) {
  return {
    kind: KIND.video, flags: key ? FLAG.key : 0, seq, ptsUs: seq * 40_000, chunk: Math.floor(seq / 4), generation,
    serverMs: 0, payload: SOME_BYTES,
  };
}

/** A decoder that decodes when told to, and everything it was given. */
class HandDecoder {
  constructor(events) {
    this.events = events;
    this.taken = [];
    this.closed = false;
    this.pictures = [];
  }

  decode(each) {
    this.taken.push(each);
  }

  queued() {
    return this.taken.length;
  }

  close() {
    this.closed = true;
  }

  decodeAll() {
    for (let each = this.taken.shift(); each; each = this.taken.shift()) {
      const picture = new FakePicture(each);
      this.pictures.push(picture);
      this.events.onPicture(picture, each);
    }
  }
}

function setUp() {
  const world = { nowMs: 0, painted: [], acks: [], keysAsked: 0, decoders: [], shown: [] };
  world.player = new Player({
    openDecoder: (_codec, _codecString, events) => world.decoders[world.decoders.push(new HandDecoder(events)) - 1],
    paint: (picture) => world.painted.push(picture.seq),
    onShown: (frame, nowMs) => world.shown.push({ seq: frame.seq, nowMs }),
    sendAck: (ack) => world.acks.push({ ...ack, nowMs: world.nowMs }),
    askKey: () => (world.keysAsked += 1),
    onGiveUp: () => {},
    nowMs: () => world.nowMs,
  });
  world.player.start(READY);
  world.refreshUntil = (untilMs, stepMs = 5) => {
    for (; world.nowMs < untilMs; world.nowMs += stepMs) {
      world.decoders.at(-1).decodeAll();
      world.player.tick();
    }
  };
  world.burst = (chunk) => {
    for (let frame = 0; frame < 4; frame += 1) world.player.push(packet(chunk * 4 + frame));
  };
  return world;
}

test("a burst is shown one by one, the first frame at once, the others 40 ms apart", () => {
  const world = setUp();
  world.burst(0);
  world.refreshUntil(300);
  assert.deepEqual(world.painted, [0, 1, 2, 3]);
  assert.equal(world.shown[0].nowMs, 0);
  const gaps = world.shown.slice(1).map(({ nowMs }, index) => nowMs - world.shown[index].nowMs);
  assert.deepEqual(gaps, [65, 40, 40]);
});

test("chunks that arrive on time are shown without a gap or a drop", () => {
  const world = setUp();
  for (let chunk = 0; chunk < 20; chunk += 1) {
    world.burst(chunk);
    world.refreshUntil((chunk + 1) * 160);
  }
  world.refreshUntil(20 * 160 + 200);
  assert.deepEqual(world.painted, Array.from({ length: 80 }, (_, seq) => seq));
  assert.equal(world.player.dropped, 0);
  assert.equal(world.player.clock.stalls, 0);
});

test("every painted picture is given back, once", () => {
  const world = setUp();
  world.burst(0);
  world.refreshUntil(300);
  assert.deepEqual(world.decoders[0].pictures.map(({ closed }) => closed), [1, 1, 1, 1]);
});

test("another codec in mid-stream gets a decoder of its own, and time goes on", () => {
  const world = setUp();
  world.burst(0);
  world.refreshUntil(100);
  world.player.push(packet(4));
  world.player.changeCodec("vp8", "vp8");
  assert.equal(world.decoders.length, 2);
  assert.ok(world.decoders[0].closed);
  world.player.push(packet(5, { key: true, generation: 1 }));
  world.player.push(packet(6, { generation: 1 }));
  assert.deepEqual(world.decoders[1].taken.map(({ seq }) => seq), [5, 6]);
  world.refreshUntil(500);
  assert.deepEqual(world.painted, [0, 1, 2, 3, 5, 6]);
});

test("the decoder is fed only a little ahead of what is shown", () => {
  const world = setUp();
  for (let chunk = 0; chunk < 5; chunk += 1) world.burst(chunk);
  assert.equal(world.decoders[0].taken.length, 6);
  world.decoders[0].decodeAll();
  assert.equal(world.player.depth, 6);
  world.refreshUntil(1100);
  assert.deepEqual(world.painted, Array.from({ length: 20 }, (_, seq) => seq));
});

test("a decoder that is slow to start costs no frame", () => {
  const world = setUp();
  world.burst(0);
  world.burst(1);
  world.nowMs = 250;
  world.player.tick();
  world.refreshUntil(700);
  assert.deepEqual(world.painted, [0, 1, 2, 3, 4, 5, 6, 7]);
  assert.equal(world.player.dropped, 0);
});

test("a late frame is shown the moment it is decoded", () => {
  const world = setUp();
  world.burst(0);
  world.refreshUntil(600);
  world.nowMs = 601;
  world.burst(1);
  world.decoders[0].decodeAll();
  assert.equal(world.painted.at(-1), 4);
});

test("acknowledgements follow the picture and never stop for long", () => {
  const world = setUp();
  world.burst(0);
  world.refreshUntil(1500);
  const lastSeqs = world.acks.map(({ last_seq }) => last_seq);
  assert.deepEqual([...new Set(lastSeqs)].filter((seq) => seq >= 0), [0, 1, 2, 3]);
  const gaps = world.acks.slice(1).map(({ nowMs }, index) => nowMs - world.acks[index].nowMs);
  assert.ok(Math.max(...gaps) <= 200, `${Math.max(...gaps)} ms without an ack`);
  assert.equal(world.acks.at(-1).playhead_us, 160_000);
  const playheads = world.acks.map(({ playhead_us }) => playhead_us);
  assert.deepEqual([...playheads].sort((a, b) => a - b), playheads);
});

test("nothing is acknowledged before anything came", () => {
  const world = setUp();
  world.refreshUntil(1000);
  assert.deepEqual(world.acks, []);
});

test("a decoder that falls behind shows in the acknowledgement", () => {
  const world = setUp();
  world.player.push(packet(0));
  world.decoders[0].decodeAll();
  for (let seq = 1; seq < 12; seq += 1) world.player.push(packet(seq));
  world.nowMs = 430;
  world.player.tick();
  assert.ok(world.acks.at(-1).decode_queue >= 9, `${world.acks.at(-1).decode_queue} reported`);
});

test("packets that wait for their time are no backlog", () => {
  const world = setUp();
  for (let chunk = 0; chunk < 3; chunk += 1) world.burst(chunk);
  world.refreshUntil(100);
  assert.equal(world.acks.at(-1).decode_queue, 0);
});

test("a backlog without end is cut at the newest key frame", () => {
  const world = setUp();
  for (let seq = 0; seq <= 110; seq += 1) world.player.push(packet(seq, { key: seq % 50 === 0 }));
  assert.equal(world.keysAsked, 0);
  world.refreshUntil(6000);
  assert.equal(world.painted.at(-1), 110);
  assert.ok(world.player.dropped >= 90, `${world.player.dropped} dropped`);
});

test("without a key frame to go on from it asks for one and takes nothing else", () => {
  const world = setUp();
  for (let seq = 0; seq <= 120; seq += 1) world.player.push(packet(seq));
  assert.equal(world.keysAsked, 1);
  world.decoders[0].taken.length = 0;
  world.player.push(packet(121, { key: true }));
  assert.deepEqual(world.decoders[0].taken.map(({ seq }) => seq), [121]);
});

test("a resumed stream goes on from the frame after the last", () => {
  const world = setUp();
  world.burst(0);
  world.refreshUntil(300);
  world.player.start({ ...READY, resumed: true });
  assert.ok(world.decoders[0].closed);
  world.nowMs = 2000;
  world.player.push(packet(4, { key: true, generation: 1 }));
  world.decoders[1].decodeAll();
  assert.deepEqual(world.painted, [0, 1, 2, 3, 4]);
  assert.ok(world.player.clock.nowUs(2000) >= 160_000);
});

test("a new stream starts at its own beginning", () => {
  const world = setUp();
  world.burst(10);
  world.refreshUntil(300);
  world.player.start(READY);
  assert.equal(world.player.lastSeq, -1);
  world.burst(0);
  world.refreshUntil(700);
  assert.deepEqual(world.painted.slice(4), [0, 1, 2, 3]);
});
