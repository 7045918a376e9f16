import assert from "node:assert/strict";
import { test } from "node:test";

import { FrameQueue } from "../../../../client/web/media/frame-queue.js";
import { FakePicture } from "../fakes.mjs";

const frame = (seq) => ({ seq, ptsUs: seq * 40_000, chunk: seq >> 2, serverMs: 0, receivedMs: 0, picture: new FakePicture({ seq }) });

function queueOf(count, limit = 8) {
  const queue = new FrameQueue(limit);
  const frames = Array.from({ length: count }, (_, seq) => frame(seq));
  frames.forEach((each) => queue.push(each));
  return { queue, frames };
}

test("nothing is due before its time", () => {
  const { queue } = queueOf(2);
  assert.equal(queue.takeDue(-1), null);
  assert.equal(queue.depth, 2);
});

test("the newest due frame is handed out, open; older ones are closed and counted", () => {
  const { queue, frames } = queueOf(4);
  assert.equal(queue.takeDue(85_000).seq, 2);
  assert.deepEqual(frames.map(({ picture }) => picture.closed), [1, 1, 0, 0]);
  assert.equal(queue.dropped, 2);
  assert.equal(queue.depth, 1);
});

test("a full queue gives up its oldest frame", () => {
  const { queue, frames } = queueOf(6, 4);
  assert.equal(queue.depth, 4);
  assert.equal(queue.dropped, 2);
  assert.deepEqual(frames.map(({ picture }) => picture.closed), [1, 1, 0, 0, 0, 0]);
});

test("clear closes every picture and counts none", () => {
  const { queue, frames } = queueOf(3);
  queue.clear();
  assert.deepEqual(frames.map(({ picture }) => picture.closed), [1, 1, 1]);
  assert.equal(queue.dropped, 0);
  assert.equal(queue.depth, 0);
});
