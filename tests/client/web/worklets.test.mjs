import assert from "node:assert/strict";
import { test } from "node:test";

const processors = new Map();
globalThis.AudioWorkletProcessor = class {
  constructor() {
    this.sent = [];
    this.port = { postMessage: (message) => this.sent.push(message), onmessage: null };
  }
};
globalThis.registerProcessor = (name, processor) => processors.set(name, processor);
await import("../../../client/web/input/microphone.worklet.js");
await import("../../../client/web/media/audio-out.worklet.js");

const BLOCK = 128;

function sine(hz, rate, seconds, amplitude = 0.5) {
  return Float32Array.from({ length: rate * seconds }, (_, at) => amplitude * Math.sin((2 * Math.PI * hz * at) / rate));
}

/** What the microphone sends for a sound at this rate. */
function record(sound, rate) {
  globalThis.sampleRate = rate;
  const microphone = new (processors.get("microphone"))();
  for (let at = 0; at < sound.length; at += BLOCK) microphone.process([[sound.subarray(at, at + BLOCK)]]);
  const blocks = microphone.sent;
  return { blocks, samples: Float32Array.from(blocks.flatMap(({ samples }) => [...samples]), (value) => value / 32767) };
}

function rms(samples) {
  return Math.sqrt(samples.reduce((sum, value) => sum + value * value, 0) / samples.length);
}

/** Rising zero crossings per second. */
function pitchHz(samples, rate) {
  let crossings = 0;
  for (let at = 1; at < samples.length; at += 1) crossings += Number(samples[at - 1] < 0 && samples[at] >= 0);
  return (crossings * rate) / samples.length;
}

test("at 16 kHz the microphone passes samples through, 20 ms at a time", () => {
  const sound = sine(300, 16_000, 1);
  const { blocks, samples } = record(sound, 16_000);
  assert.equal(blocks.length, 50);
  assert.ok(blocks.every((block) => block.samples.length === 320));
  samples.forEach((value, at) => assert.ok(Math.abs(value - sound[at]) < 1e-4));
  assert.ok(Math.abs(blocks[10].level - rms(sound)) < 0.01);
});

for (const rate of [44_100, 48_000, 8_000]) {
  test(`at ${rate} Hz it comes out as 16 kHz with the same pitch, length and level`, () => {
    const { samples } = record(sine(300, rate, 2), rate);
    assert.ok(Math.abs(samples.length - 32_000) <= 320, `${samples.length} samples`);
    assert.ok(Math.abs(pitchHz(samples, 16_000) - 300) < 3);
    assert.ok(Math.abs(rms(samples) - rms(sine(300, rate, 2))) < 0.04, `${rms(samples)}`);
  });
}

test("what 16 kHz cannot carry is damped", () => {
  const { samples } = record(sine(15_000, 48_000, 1), 48_000);
  assert.ok(rms(samples) < 0.2 * rms(sine(300, 48_000, 1)), `${rms(samples)}`);
});

test("too loud is clipped, silence and no input are nothing", () => {
  const { samples } = record(Float32Array.from({ length: 640 }, () => 3), 16_000);
  assert.ok(samples.every((value) => value === 1));
  globalThis.sampleRate = 16_000;
  const microphone = new (processors.get("microphone"))();
  assert.equal(microphone.process([[]]), true);
  assert.equal(microphone.process([]), true);
  assert.deepEqual(microphone.sent, []);
});

/** A loudspeaker that is asked for blocks. */
function openSpeaker() {
  globalThis.sampleRate = 16_000;
  globalThis.currentTime = 0;
  const speaker = new (processors.get("audio-out"))();
  const play = (blocks) => {
    const heard = [];
    for (let count = 0; count < blocks; count += 1) {
      const block = new Float32Array(BLOCK);
      speaker.process([], [[block]]);
      heard.push(...block);
      globalThis.currentTime += BLOCK / 16_000;
    }
    return heard;
  };
  const push = (ptsUs, samples) => speaker.port.onmessage({ data: { type: "push", ptsUs, samples } });
  return { speaker, play, push };
}

const counting = (from, length) => Float32Array.from({ length }, (_, at) => from + at);

test("sound starts when enough is there, and plays every sample once and in order", () => {
  const { play, push } = openSpeaker();
  push(0, counting(1, 320));
  assert.ok(play(2).every((value) => value === 0), "20 ms are too little to start with");
  push(20_000, counting(321, 320));
  push(40_000, counting(641, 320));
  const heard = play(8);
  assert.deepEqual(heard.slice(0, 960), [...counting(1, 960)]);
  assert.ok(heard.slice(960).every((value) => value === 0));
});

test("it reports which media time sounds at which moment", () => {
  const { speaker, play, push } = openSpeaker();
  push(500_000, counting(1, 2560));
  play(10);
  const reports = speaker.sent;
  assert.ok(reports.length >= 3);
  for (const { ptsUs, at } of reports) assert.ok(Math.abs(ptsUs - 500_000 - at * 1e6) < 1, `${ptsUs} at ${at}`);
});

test("when it runs dry it stops, says nothing, and waits for enough again", () => {
  const { speaker, play, push } = openSpeaker();
  push(0, counting(1, 960));
  play(20);
  const reports = speaker.sent.length;
  play(20);
  assert.equal(speaker.sent.length, reports);
  push(200_000, counting(1, 160));
  assert.ok(play(3).every((value) => value === 0));
});

test("a jump in media time is followed", () => {
  const { speaker, play, push } = openSpeaker();
  push(0, counting(1, 1280));
  push(9_000_000, counting(1, 1280));
  play(18);
  assert.ok(speaker.sent.at(-1).ptsUs >= 9_000_000);
});

test("clear is silence at once", () => {
  const { speaker, play, push } = openSpeaker();
  push(0, counting(1, 2560));
  play(2);
  speaker.port.onmessage({ data: { type: "clear" } });
  assert.ok(play(4).every((value) => value === 0));
});

test("what is queued without end is bounded", () => {
  const { speaker, push, play } = openSpeaker();
  for (let packet = 0; packet < 100; packet += 1) push(packet * 160_000, counting(1, 2560));
  play(3);
  assert.ok(speaker.sent[0].queuedMs <= 3_000);
});
