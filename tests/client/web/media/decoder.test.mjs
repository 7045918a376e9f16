import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { h264CodecString, supportedCodecs } from "../../../../client/web/media/codec-support.js";
import { openDecoder } from "../../../../client/web/media/decoder.js";
import { FLAG, KIND } from "../../../../client/web/net/protocol.js";

const SPS = new Uint8Array([0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x14, 0xd9, 0, 0, 0, 1, 0x68, 1]);
const DELTA = new Uint8Array([0, 0, 0, 1, 0x41, 1, 2]);

/** WebCodecs' decoder as far as the page uses it; it refuses what the real one refuses. */
class FakeVideoDecoder {
  static made = [];
  static isConfigSupported = async ({ codec }) => ({ supported: codec !== "vp8" });

  constructor(init) {
    this.init = init;
    this.state = "unconfigured";
    this.chunks = [];
    this.hasKey = false;
    FakeVideoDecoder.made.push(this);
  }

  configure(config) {
    this.config = config;
    this.state = "configured";
  }

  decode(chunk) {
    if (this.state === "closed") throw new DOMException("closed", "InvalidStateError");
    if (!this.hasKey && chunk.type !== "key") throw new DOMException("A key frame is required", "DataError");
    this.hasKey = true;
    this.chunks.push(chunk);
  }

  close() {
    this.state = "closed";
  }

  finish(chunk) {
    this.init.output({ timestamp: chunk.timestamp, close() {} });
  }

  fail() {
    this.state = "closed";
    this.init.error(new DOMException("broken", "EncodingError"));
  }
}

beforeEach(() => {
  FakeVideoDecoder.made = [];
  globalThis.VideoDecoder = FakeVideoDecoder;
  globalThis.EncodedVideoChunk = class {
    constructor(init) {
      Object.assign(this, init);
    }
  };
});

afterEach(() => {
  delete globalThis.VideoDecoder;
  delete globalThis.EncodedVideoChunk;
  delete globalThis.createImageBitmap;
});

function packet(seq, { key = false, generation = 0, payload = key ? SPS : DELTA } = {}) {
  return { kind: KIND.video, flags: key ? FLAG.key : 0, seq, ptsUs: seq * 40_000, chunk: 0, generation, serverMs: 0, payload };
}

function setUp(codec) {
  const world = { pictures: [], keysAsked: 0, gaveUp: 0 };
  world.decoder = openDecoder(codec, "vp8", {
    onPicture: (picture, { seq }) => world.pictures.push({ picture, seq }),
    onNeedKey: () => (world.keysAsked += 1),
    onGiveUp: () => (world.gaveUp += 1),
  });
  return world;
}

test("without WebCodecs there is JPEG, with it what it can decode", async () => {
  assert.deepEqual(await supportedCodecs(), ["h264", "jpeg"]);
  delete globalThis.VideoDecoder;
  assert.deepEqual(await supportedCodecs(), ["jpeg"]);
});

test("the codec string is read from the parameter set", () => {
  assert.equal(h264CodecString(SPS), "avc1.42c014");
  assert.equal(h264CodecString(DELTA), null);
  assert.equal(h264CodecString(new Uint8Array([0, 0, 1, 0x67, 0x42])), null);
});

test("low delay and the right colours are asked for", () => {
  setUp("h264").decoder.decode(packet(0, { key: true }));
  const { config } = FakeVideoDecoder.made[0];
  assert.equal(config.codec, "avc1.42c014");
  assert.equal(config.optimizeForLatency, true);
  assert.deepEqual(config.colorSpace, { matrix: "smpte170m", primaries: "smpte170m", transfer: "smpte170m", fullRange: false });
});

test("a codec that does not describe itself is named by the server", () => {
  setUp("vp8").decoder.decode(packet(0, { key: true, payload: DELTA }));
  assert.equal(FakeVideoDecoder.made[0].config.codec, "vp8");
});

test("pictures come out with the packet they were made from", () => {
  const world = setUp("h264");
  world.decoder.decode(packet(0, { key: true }));
  world.decoder.decode(packet(1));
  assert.equal(world.decoder.queued(), 2);
  const [codec] = FakeVideoDecoder.made;
  codec.chunks.forEach((chunk) => codec.finish(chunk));
  assert.deepEqual(world.pictures.map(({ seq }) => seq), [0, 1]);
  assert.equal(world.decoder.queued(), 0);
});

test("a picture that the decoder swallows is not waited for", () => {
  const world = setUp("h264");
  for (const seq of [0, 1, 2]) world.decoder.decode(packet(seq, { key: seq === 0 }));
  const [codec] = FakeVideoDecoder.made;
  codec.finish(codec.chunks[2]);
  assert.equal(world.decoder.queued(), 0);
});

test("nothing but a key frame starts a stream", () => {
  const world = setUp("h264");
  world.decoder.decode(packet(0));
  assert.equal(world.keysAsked, 1);
  assert.equal(FakeVideoDecoder.made.length, 0);
});

test("a decoder that died is made anew at the next key frame", () => {
  const world = setUp("h264");
  world.decoder.decode(packet(0, { key: true }));
  FakeVideoDecoder.made[0].fail();
  assert.equal(world.keysAsked, 1);
  world.decoder.decode(packet(1));
  world.decoder.decode(packet(2, { key: true }));
  assert.equal(FakeVideoDecoder.made.length, 2);
  assert.deepEqual(FakeVideoDecoder.made[1].chunks.map(({ timestamp }) => timestamp), [80_000]);
  assert.equal(world.gaveUp, 0);
});

test("a codec that fails twice is given up", () => {
  const world = setUp("h264");
  for (const seq of [0, 1]) {
    world.decoder.decode(packet(seq, { key: true }));
    FakeVideoDecoder.made.at(-1).fail();
  }
  assert.equal(world.gaveUp, 1);
});

test("a packet that is refused at once counts as a failure", () => {
  const world = setUp("h264");
  world.decoder.decode(packet(0, { key: true }));
  FakeVideoDecoder.made[0].state = "closed";
  world.decoder.decode(packet(1));
  assert.equal(world.keysAsked, 1);
});

test("a new generation configures again, an old one does not", () => {
  const world = setUp("h264");
  world.decoder.decode(packet(0, { key: true }));
  world.decoder.decode(packet(1, { key: true }));
  assert.equal(FakeVideoDecoder.made.length, 1);
  world.decoder.decode(packet(2, { key: true, generation: 1 }));
  assert.equal(FakeVideoDecoder.made.length, 2);
  assert.equal(FakeVideoDecoder.made[0].state, "closed");
});

test("JPEG pictures come out in order, one decode at a time", async () => {
  const world = setUp("jpeg");
  let running = 0;
  let most = 0;
  globalThis.createImageBitmap = async () => {
    most = Math.max(most, (running += 1));
    await Promise.resolve();
    running -= 1;
    return { close() {} };
  };
  for (let seq = 0; seq < 4; seq += 1) world.decoder.decode(packet(seq));
  assert.equal(world.decoder.queued(), 4);
  await new Promise(setImmediate);
  assert.deepEqual(world.pictures.map(({ seq }) => seq), [0, 1, 2, 3]);
  assert.equal(most, 1);
  assert.equal(world.decoder.queued(), 0);
});

test("a broken JPEG is skipped, two say that JPEG fails here", async () => {
  const world = setUp("jpeg");
  let number = 0;
  globalThis.createImageBitmap = async () => {
    number += 1;
    if (number !== 2) throw new DOMException("no", "InvalidStateError");
    return { close() {} };
  };
  for (let seq = 0; seq < 3; seq += 1) world.decoder.decode(packet(seq));
  await new Promise(setImmediate);
  assert.deepEqual(world.pictures.map(({ seq }) => seq), [1]);
  assert.equal(world.gaveUp, 1);
});

test("a picture that comes out after close is given back", async () => {
  const world = setUp("jpeg");
  const closed = [];
  globalThis.createImageBitmap = async () => ({ close: () => closed.push(1) });
  world.decoder.decode(packet(0));
  world.decoder.close();
  await new Promise(setImmediate);
  assert.deepEqual(world.pictures, []);
  assert.equal(closed.length, 1);
});
