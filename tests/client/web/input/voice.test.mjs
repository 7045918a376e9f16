import assert from "node:assert/strict";
import { test } from "node:test";

import { BLOCK_SAMPLES, PacedAudio, toPcm16 } from "../../../../client/web/input/audio-file.js";
import { audioSamples, parsePacket } from "../../../../client/web/net/protocol.js";
import { Voice } from "../../../../client/web/input/voice.js";

const RATE = 16_000;
const seconds = (count) => Int16Array.from({ length: count * RATE }, (_, index) => index % 1000);
const lengthMs = (blocks) => (blocks.reduce((sum, block) => sum + block.length, 0) / RATE) * 1000;

test("a file starts with a head start and then keeps the pace of speech", () => {
  const audio = new PacedAudio(seconds(10), 0);
  let sentMs = 0;
  for (let nowMs = 0; nowMs <= 5_000; nowMs += 50) {
    sentMs += lengthMs(audio.due(nowMs, 0));
    assert.ok(sentMs >= nowMs && sentMs <= nowMs + 500, `${sentMs} ms sent at ${nowMs}`);
  }
});

test("every sample is sent once, in order, the last block short", () => {
  const samples = seconds(1).subarray(0, 10_000);
  const audio = new PacedAudio(samples, 0);
  const blocks = [];
  for (let nowMs = 0; !audio.done; nowMs += 100) blocks.push(...audio.due(nowMs, 0));
  assert.deepEqual(Int16Array.from(blocks.flatMap((block) => [...block])), samples);
  assert.ok(blocks.every((block) => block.length <= BLOCK_SAMPLES));
  assert.equal(audio.progress >= 1, true);
});

test("a server that is behind is waited for, and not flooded afterwards", () => {
  const audio = new PacedAudio(seconds(60), 0);
  audio.due(0, 0);
  for (let nowMs = 100; nowMs <= 20_000; nowMs += 100) assert.deepEqual(audio.due(nowMs, 5_000), []);
  assert.ok(lengthMs(audio.due(20_100, 0)) <= 600);
});

test("a page that slept does not send the missed time at once", () => {
  const audio = new PacedAudio(seconds(60), 0);
  audio.due(0, 0);
  assert.ok(lengthMs(audio.due(30_000, 0)) <= 900);
});

test("PCM16 is clipped, not wrapped", () => {
  assert.deepEqual([...toPcm16(Float32Array.from([0, 1, -1, 1.7, -3]))], [0, 32767, -32767, 32767, -32767]);
});

function setUpVoice() {
  const world = { nowMs: 0, packets: [], ends: 0, full: false };
  world.voice = new Voice({
    sendMedia: (buffer) => {
      if (!world.full) world.packets.push(parsePacket(buffer));
      return !world.full;
    },
    sendEnd: () => (world.ends += 1),
    nowMs: () => world.nowMs,
  });
  return world;
}

test("blocks are numbered and carry their time; what a full socket refuses leaves no hole", () => {
  const world = setUpVoice();
  world.voice.send(Int16Array.of(1, 2));
  world.full = true;
  world.voice.send(Int16Array.of(3));
  world.full = false;
  world.nowMs = 40;
  world.voice.send(Int16Array.of(4));
  assert.deepEqual(world.packets.map(({ seq, ptsUs }) => [seq, ptsUs]), [[0, 0], [1, 40_000]]);
  assert.deepEqual(audioSamples(world.packets[1]), Int16Array.of(4));
  assert.equal(world.voice.lost, 1);
});

test("a file ends its utterance once", () => {
  const world = setUpVoice();
  world.voice.playFile(seconds(1));
  let ended = 0;
  for (world.nowMs = 0; world.nowMs < 3_000; world.nowMs += 100) ended += Number(world.voice.tick(0));
  assert.equal(ended, 1);
  assert.equal(world.ends, 1);
  assert.equal(world.packets.length, 10);
  assert.equal(world.voice.fileProgress, null);
});

test("a file that is stopped says no more", () => {
  const world = setUpVoice();
  world.voice.playFile(seconds(10));
  world.voice.tick(0);
  const before = world.packets.length;
  world.voice.stopFile();
  world.nowMs = 5_000;
  assert.equal(world.voice.tick(0), false);
  assert.equal(world.packets.length, before);
});

test("a new session counts from zero", () => {
  const world = setUpVoice();
  world.voice.send(Int16Array.of(1));
  world.voice.restart();
  world.voice.send(Int16Array.of(1));
  assert.deepEqual(world.packets.map(({ seq }) => seq), [0, 0]);
});

test("a stream whose voice is Opus gets packets of the encoder, and its end behind them", async () => {
  const world = { nowMs: 40, packets: [], said: [] };
  let flushed = () => {};
  const voice = new Voice({
    sendMedia: (buffer) => world.said.push(parsePacket(buffer)) > 0,
    sendEnd: () => world.said.push("end"),
    nowMs: () => world.nowMs,
    openEncoder: (onPacket) => ({
      encode: (samples) => onPacket(Uint8Array.of(samples.length)),
      flush: () => new Promise((resolve) => {
        flushed = () => {
          onPacket(Uint8Array.of(9));
          resolve();
        };
      }),
    }),
  });
  voice.setCodec("opus");
  voice.send(new Int16Array(20));
  voice.end();
  assert.equal(world.said.length, 1, "not before the encoder has given all");
  flushed();
  await new Promise((resolve) => setTimeout(resolve));
  assert.deepEqual(world.said.map((each) => (each === "end" ? each : [each.seq, each.ptsUs, each.payload[0]])), [
    [0, 40_000, 20], [1, 40_000, 9], "end",
  ]);
  voice.setCodec("pcm");
  voice.send(Int16Array.of(1, 2));
  assert.equal(world.said.at(-1).payload.length, 4);
});
