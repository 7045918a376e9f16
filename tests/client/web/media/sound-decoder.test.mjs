import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { SoundDecoder } from "../../../../client/web/media/sound-decoder.js";

const packet = (ptsUs, payload) => ({ ptsUs, payload, kind: 2, flags: 0, seq: 0, chunk: 0, generation: 0, serverMs: 0 });

/** A browser's decoder that gives 20 ms of its payload's first byte. */
class FakeAudioDecoder {
  static made = [];

  constructor({ output, error }) {
    Object.assign(this, { output, error, state: "unconfigured", decodeQueueSize: 0 });
    FakeAudioDecoder.made.push(this);
  }

  configure(config) {
    this.config = config;
    this.state = "configured";
  }

  decode({ timestamp, data }) {
    if (data[0] === 255) {
      this.state = "closed";
      this.error(new Error("no Opus"));
      return;
    }
    const frames = 960;
    this.output({
      numberOfFrames: frames, sampleRate: 48_000, timestamp,
      copyTo: (samples) => samples.fill(data[0] / 100), close: () => {},
    });
  }

  close() {
    this.state = "closed";
  }
}

globalThis.AudioDecoder = FakeAudioDecoder;
globalThis.EncodedAudioChunk = class {
  constructor(init) {
    Object.assign(this, init);
  }
};
afterEach(() => FakeAudioDecoder.made.splice(0));

test("PCM is samples at the model's rate, at once", () => {
  const pieces = [];
  const decoder = new SoundDecoder("pcm", 16_000, (piece) => pieces.push(piece));
  assert.equal(decoder.sampleRate, 16_000);
  decoder.push(packet(40_000, Uint8Array.of(0, 64, 0, 192)));
  assert.deepEqual(pieces, [{ ptsUs: 40_000, samples: Float32Array.of(0.5, -0.5) }]);
  assert.equal(FakeAudioDecoder.made.length, 0);
});

test("Opus goes through one decoder at 48 kHz, and keeps its times", () => {
  const pieces = [];
  const decoder = new SoundDecoder("opus", 16_000, (piece) => pieces.push(piece));
  assert.equal(decoder.sampleRate, 48_000);
  decoder.push(packet(13_500, Uint8Array.of(50)));
  decoder.push(packet(33_500, Uint8Array.of(25)));
  assert.equal(FakeAudioDecoder.made.length, 1);
  assert.deepEqual(pieces.map(({ ptsUs, samples }) => [ptsUs, samples.length, samples[0]]), [[13_500, 960, 0.5], [33_500, 960, 0.25]]);
});

test("what lies before the stream's begin is not played", () => {
  const pieces = [];
  const decoder = new SoundDecoder("opus", 16_000, (piece) => pieces.push(piece));
  decoder.push(packet(-6_500, Uint8Array.of(50)));
  assert.equal(pieces[0].ptsUs, 0);
  assert.equal(pieces[0].samples.length, 960 - 312);
  decoder.push(packet(-30_000, Uint8Array.of(50)));
  assert.equal(pieces.length, 1);
});

test("a packet that is none costs itself: the next one begins anew", () => {
  const pieces = [];
  const decoder = new SoundDecoder("opus", 16_000, (piece) => pieces.push(piece));
  decoder.push(packet(0, Uint8Array.of(255)));
  decoder.push(packet(20_000, Uint8Array.of(50)));
  assert.equal(decoder.failures, 1);
  assert.equal(FakeAudioDecoder.made.length, 2);
  assert.equal(pieces.length, 1);
  decoder.close();
  assert.equal(FakeAudioDecoder.made[1].state, "closed");
});
