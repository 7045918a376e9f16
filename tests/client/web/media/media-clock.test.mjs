import assert from "node:assert/strict";
import { test } from "node:test";

import { MediaClock } from "../../../../client/web/media/media-clock.js";

const FRAME_US = 40_000;

/** A chunk of four frames arrives in one burst. */
function burst(clock, chunk, nowMs) {
  for (let frame = 0; frame < 4; frame += 1) clock.extend((chunk * 4 + frame) * FRAME_US, FRAME_US, nowMs);
}

test("a burst is spread out at its own rate after a short head start", () => {
  const clock = new MediaClock();
  burst(clock, 0, 1000);
  assert.equal(clock.nowUs(1020), 0);
  assert.equal(clock.nowUs(1030), 0);
  assert.equal(clock.nowUs(1070), 40_000);
  assert.equal(clock.nowUs(1150), 120_000);
});

test("it stops where the frames end and goes on at once when more come", () => {
  const clock = new MediaClock();
  burst(clock, 0, 0);
  assert.equal(clock.nowUs(500), 160_000);
  burst(clock, 1, 510);
  assert.equal(clock.nowUs(510), 160_000);
  assert.equal(clock.nowUs(550), 200_000);
  assert.equal(clock.stalls, 1);
});

test("chunks in time are no stalls", () => {
  const clock = new MediaClock();
  for (let chunk = 0; chunk < 50; chunk += 1) burst(clock, chunk, chunk * 160 + (chunk % 3) * 8);
  assert.equal(clock.stalls, 0);
  assert.equal(clock.nowUs(49 * 160 + 30), 49 * 160_000);
});

test("media time never goes back, whatever arrives", () => {
  const clock = new MediaClock();
  let last = 0;
  for (let step = 0; step < 400; step += 1) {
    const nowMs = step * 7;
    if (step % 23 === 0) burst(clock, (step * 13) % 17, nowMs);
    if (step % 31 === 0) clock.follow(((step * 7919) % 400_000), nowMs);
    const nowUs = clock.nowUs(nowMs);
    assert.ok(nowUs >= last, `${nowUs} after ${last}`);
    last = nowUs;
  }
});

test("skipped frames leave a hole that is played through, not waited for", () => {
  const clock = new MediaClock();
  burst(clock, 0, 0);
  burst(clock, 2, 20);
  assert.equal(clock.nowUs(30 + 400), 400_000);
});

test("after a long hold the clock jumps over what was skipped meanwhile", () => {
  const clock = new MediaClock();
  burst(clock, 0, 0);
  clock.nowUs(2000);
  burst(clock, 5, 2000);
  assert.equal(clock.nowUs(2000), 800_000);
});

test("the sound card leads while it plays", () => {
  const clock = new MediaClock();
  burst(clock, 0, 0);
  burst(clock, 1, 0);
  clock.follow(100_000, 200); // the page clock says 170 ms, the sound is later
  assert.equal(clock.nowUs(200), 100_000);
  assert.equal(clock.nowUs(210), 110_000);
});

test("sound that lags holds the picture instead of rewinding it", () => {
  const clock = new MediaClock();
  burst(clock, 0, 0);
  assert.equal(clock.nowUs(110), 80_000);
  clock.follow(50_000, 110);
  assert.equal(clock.nowUs(110), 80_000);
});

test("a pause freezes and goes on from the same place", () => {
  const clock = new MediaClock();
  burst(clock, 0, 0);
  clock.setPaused(true, 70);
  assert.equal(clock.nowUs(5_000), 40_000);
  clock.setPaused(false, 5_000);
  assert.equal(clock.nowUs(5_000), 40_000);
  assert.equal(clock.nowUs(5_040), 80_000);
});

test("frames that come during a pause neither move it nor count as a stall", () => {
  const clock = new MediaClock();
  burst(clock, 0, 0);
  clock.setPaused(true, 1000);
  burst(clock, 1, 3000);
  assert.equal(clock.nowUs(3000), 160_000);
  clock.setPaused(false, 4000);
  assert.equal(clock.nowUs(4040), 200_000);
  assert.equal(clock.stalls, 0);
});

test("what is ahead counts down", () => {
  const clock = new MediaClock();
  assert.equal(clock.aheadMs(0), 0);
  burst(clock, 0, 0);
  assert.equal(clock.aheadMs(30), 160);
  assert.equal(clock.aheadMs(130), 60);
});

test("reset starts a new stream at its own zero", () => {
  const clock = new MediaClock();
  burst(clock, 100, 0);
  clock.nowUs(200);
  clock.reset();
  burst(clock, 0, 300);
  assert.equal(clock.nowUs(370), 40_000);
});
