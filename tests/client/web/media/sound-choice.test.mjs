import assert from "node:assert/strict";
import { test } from "node:test";

import { networkOf, opusSupport, soundCodecs } from "../../../../client/web/media/sound-choice.js";

const BOTH = { decode: true, encode: true };
const FAST = { saveData: false, slow: false };
const PCM = { take: ["pcm"], send: "pcm" };
const OPUS = { take: ["opus", "pcm"], send: "opus" };

test("on a good network sound goes as it is", () => {
  assert.deepEqual(soundCodecs(null, BOTH, FAST), PCM);
});

test("on a slow network, or where data is saved, as Opus", () => {
  assert.deepEqual(soundCodecs(null, BOTH, { saveData: false, slow: true }), OPUS);
  assert.deepEqual(soundCodecs(null, BOTH, { saveData: true, slow: false }), OPUS);
});

test("the user's word counts before that", () => {
  assert.deepEqual(soundCodecs("opus", BOTH, FAST), OPUS);
  assert.deepEqual(soundCodecs("pcm", BOTH, { saveData: true, slow: true }), PCM);
});

test("each way by itself, as far as the browser can", () => {
  assert.deepEqual(soundCodecs("opus", { decode: true, encode: false }, FAST), { take: ["opus", "pcm"], send: "pcm" });
  assert.deepEqual(soundCodecs("opus", { decode: false, encode: true }, FAST), { take: ["pcm"], send: "opus" });
});

test("without WebCodecs there is none", async () => {
  assert.deepEqual(await opusSupport(), { decode: false, encode: false });
});

test("how the network is, as far as the browser says, and nothing of this machine's own", () => {
  assert.deepEqual(networkOf({}, "host.example"), FAST);
  assert.deepEqual(networkOf({ connection: { saveData: true, effectiveType: "4g" } }, "host.example"), { saveData: true, slow: false });
  assert.deepEqual(networkOf({ connection: { effectiveType: "3g" } }, "host.example"), { saveData: false, slow: true });
  for (const host of ["localhost", "127.0.0.1", "[::1]"]) {
    assert.deepEqual(networkOf({ connection: { effectiveType: "2g" } }, host), FAST, host);
  }
});
