import assert from "node:assert/strict";
import { test } from "node:test";

import { Figures, median } from "../../../../client/web/media/figures.js";

test("the median of nothing is unknown", () => {
  assert.equal(median([]), null);
  assert.equal(median([9, 1, 5]), 5);
});

test("rates are those of the last two seconds", () => {
  const figures = new Figures();
  for (let nowMs = 0; nowMs < 10_000; nowMs += 40) {
    figures.shown(nowMs, 12);
    figures.received(500, nowMs);
  }
  const reading = figures.read(10_000);
  assert.ok(Math.abs(reading.fps - 25) <= 0.5, `${reading.fps} fps`);
  assert.ok(Math.abs(reading.kbps - 100) <= 2, `${reading.kbps} kbit/s`);
  assert.equal(figures.read(13_000).fps, 0);
});

test("delays are the median of recent ones; before any there is none", () => {
  const figures = new Figures();
  assert.equal(figures.read(0).photonMs, null);
  for (let delay = 0; delay < 100; delay += 1) figures.photon(delay);
  assert.equal(figures.read(0).photonMs, 87);
  figures.shown(0, null);
  assert.equal(figures.read(0).latencyMs, null);
  figures.forget();
  assert.equal(figures.read(0).photonMs, null);
});

test("the server's own figures are passed on", () => {
  const figures = new Figures();
  figures.stats({ lead_ms: 300, chunk_time_ms: 80, rtf: 0.5, skipped_frames: 3 });
  const { leadMs, chunkMs, realTime, skipped } = figures.read(0);
  assert.deepEqual({ leadMs, chunkMs, realTime, skipped }, { leadMs: 300, chunkMs: 80, realTime: 0.5, skipped: 3 });
});
