import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { supportedCodecs } from "../../../../client/web/media/codec-support.js";

afterEach(() => {
  delete globalThis.VideoDecoder;
});

test("codecs are offered as the browser can decode them, JPEG always", async () => {
  globalThis.VideoDecoder = { isConfigSupported: async ({ codec }) => ({ supported: codec === "vp8" }) };
  assert.deepEqual(await supportedCodecs(), ["vp8", "jpeg"]);
  delete globalThis.VideoDecoder;
  assert.deepEqual(await supportedCodecs(), ["jpeg"]);
});

test("a browser that refuses to say is asked no further", async () => {
  globalThis.VideoDecoder = { isConfigSupported: async () => Promise.reject(new TypeError("invalid config")) };
  assert.deepEqual(await supportedCodecs(), ["jpeg"]);
  globalThis.VideoDecoder = {
    isConfigSupported: () => {
      throw new TypeError("colorSpace is not known");
    },
  };
  assert.deepEqual(await supportedCodecs(), ["jpeg"]);
  globalThis.VideoDecoder = { isConfigSupported: () => new Promise(() => {}) };
  assert.deepEqual(await supportedCodecs(1), ["jpeg"]);
  globalThis.VideoDecoder = {};
  assert.deepEqual(await supportedCodecs(), ["jpeg"]);
});
