import assert from "node:assert/strict";
import { test } from "node:test";

import { MAX_ATTEMPTS, retryDelayMs } from "../../../../client/web/net/backoff.js";

const always = (value) => () => value;

test("the delay doubles up to a cap", () => {
  const delays = Array.from({ length: MAX_ATTEMPTS }, (_, index) => retryDelayMs(index + 1, always(1)));
  assert.deepEqual(delays.slice(0, 4), [400, 800, 1600, 3200]);
  assert.equal(Math.max(...delays), 15_000);
  assert.deepEqual([...delays].sort((a, b) => a - b), delays);
});

test("jitter takes away at most half", () => {
  assert.equal(retryDelayMs(3, always(0)), 800);
  assert.equal(retryDelayMs(3, always(0.5)), 1200);
});

test("the server's wish is a lower bound", () => {
  assert.equal(retryDelayMs(1, always(0), 5_000), 5_000);
  assert.equal(retryDelayMs(9, always(1), 5_000), 6_000);
});
