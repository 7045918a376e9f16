import assert from "node:assert/strict";
import { test } from "node:test";

import { ServerClock } from "../../../../client/web/net/server-clock.js";

test("without a pong nothing is known", () => {
  assert.equal(new ServerClock().best(), null);
  assert.equal(new ServerClock().ageMs(5, 10), null);
});

test("the quickest round trip decides", () => {
  const clock = new ServerClock();
  clock.addPong(0, 100, 10_090); // 40 ms of the way back were a queue
  clock.addPong(1000, 1010, 11_005);
  clock.addPong(2000, 2300, 12_010);
  assert.deepEqual(clock.best(), { rttMs: 10, offsetMs: 10_000 });
  assert.equal(clock.ageMs(11_000, 1_050), 50);
});

test("old samples make room, so that a drifting clock is followed", () => {
  const clock = new ServerClock();
  clock.addPong(0, 1, 500);
  for (let at = 1; at <= 16; at += 1) clock.addPong(at * 1000, at * 1000 + 20, at * 1000 + 710);
  assert.equal(clock.best().offsetMs, 700);
});

test("a pong from the future is ignored", () => {
  const clock = new ServerClock();
  clock.addPong(100, 50, 0);
  clock.addPong(100, 150, NaN);
  assert.equal(clock.best(), null);
});

test("reset forgets", () => {
  const clock = new ServerClock();
  clock.addPong(0, 2, 9);
  clock.reset();
  assert.equal(clock.best(), null);
});
