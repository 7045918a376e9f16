import assert from "node:assert/strict";
import { test } from "node:test";

import { networkOf, opusSupport, soundCodecs } from "../../../../client/web/media/sound-choice.js";

const BOTH = { decode: true, encode: true };
const FAST = { saveData: false, mbps: 10 };
const PCM = { take: ["pcm"], send: "pcm" };
const OPUS = { take: ["opus", "pcm"], send: "opus" };

test("on a good network, or one that is not known, sound goes as it is", () => {
  assert.deepEqual(soundCodecs(null, BOTH, FAST), PCM);
  assert.deepEqual(soundCodecs(null, BOTH, { saveData: false, mbps: null }), PCM);
});

test("on a slow network, or where data is saved, as Opus", () => {
  assert.deepEqual(soundCodecs(null, BOTH, { saveData: false, mbps: 0.7 }), OPUS);
  assert.deepEqual(soundCodecs(null, BOTH, { saveData: true, mbps: 10 }), OPUS);
});

test("the user's word counts before that", () => {
  assert.deepEqual(soundCodecs("opus", BOTH, FAST), OPUS);
  assert.deepEqual(soundCodecs("pcm", BOTH, { saveData: true, mbps: 0.1 }), PCM);
});

test("each way by itself, as far as the browser can", () => {
  assert.deepEqual(soundCodecs("opus", { decode: true, encode: false }, FAST), { take: ["opus", "pcm"], send: "pcm" });
  assert.deepEqual(soundCodecs("opus", { decode: false, encode: true }, FAST), { take: ["pcm"], send: "opus" });
});

test("without WebCodecs there is none", async () => {
  assert.deepEqual(await opusSupport(), { decode: false, encode: false });
});

test("a browser that says nothing of its network has one that is not known", () => {
  assert.deepEqual(networkOf({}), { saveData: false, mbps: null });
  assert.deepEqual(networkOf({ connection: { saveData: true, downlink: 1.5 } }), { saveData: true, mbps: 1.5 });
});
