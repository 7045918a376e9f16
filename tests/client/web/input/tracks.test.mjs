import assert from "node:assert/strict";
import { test } from "node:test";

import { MAX_LIVE_TRACKS, MAX_POINTS_PER_MESSAGE } from "../../../../client/web/net/protocol.js";
import { Tracks } from "../../../../client/web/input/tracks.js";

const phases = (points) => points.map(({ phase }) => phase);

test("press, move, release: one track with its path", () => {
  const tracks = new Tracks();
  tracks.press(5, 0.1, 0.2, 0);
  tracks.move(5, 0.3, 0.4, 10);
  tracks.move(5, 0.5, 0.6, 20);
  tracks.release(5, 30);
  const points = tracks.take();
  assert.deepEqual(phases(points), ["down", "move", "move", "up"]);
  assert.equal(new Set(points.map(({ id }) => id)).size, 1);
  assert.deepEqual(points.at(-1), { id: points[0].id, phase: "up", x: 0.5, y: 0.6 });
  assert.deepEqual(tracks.take(), []);
});

test("several fingers are several tracks", () => {
  const tracks = new Tracks();
  tracks.press(1, 0, 0, 0);
  tracks.press(2, 1, 1, 0);
  tracks.move(1, 0.5, 0, 5);
  tracks.move(2, 0.5, 1, 5);
  const points = tracks.take();
  const ids = [...new Set(points.map(({ id }) => id))];
  assert.equal(ids.length, 2);
  ids.forEach((id) => assert.deepEqual(phases(points.filter((point) => point.id === id)), ["down", "move"]));
});

test("points outside are held at the edge", () => {
  const tracks = new Tracks();
  tracks.press(1, -0.4, 1.7, 0);
  assert.deepEqual(tracks.take().map(({ x, y }) => [x, y]), [[0, 1]]);
});

test("moves of a pointer that presses nothing, and moves to the same place, say nothing", () => {
  const tracks = new Tracks();
  tracks.move(9, 0.5, 0.5, 0);
  tracks.release(9, 0);
  tracks.press(1, 0.5, 0.5, 0);
  tracks.move(1, 0.5, 0.5, 5);
  assert.deepEqual(phases(tracks.take()), ["down"]);
});

test("no more tracks than the server holds", () => {
  const tracks = new Tracks();
  for (let pointer = 0; pointer < MAX_LIVE_TRACKS - 1; pointer += 1) assert.ok(tracks.press(pointer, 0.5, 0.5, 0));
  tracks.toggleAnchor(0.1, 0.1);
  assert.equal(tracks.press(99, 0.5, 0.5, 0), false);
  tracks.toggleAnchor(0.9, 0.9);
  assert.equal(tracks.anchors.length, 1);
  tracks.release(0, 0);
  assert.ok(tracks.press(99, 0.5, 0.5, 0));
});

test("a storm of moves is thinned to the last place of each finger, in order", () => {
  const tracks = new Tracks();
  tracks.press(1, 0, 0, 0);
  tracks.press(2, 0, 1, 0);
  for (let step = 1; step <= 1000; step += 1) {
    tracks.move(1, step / 1000, 0, step);
    tracks.move(2, step / 1000, 1, step);
  }
  tracks.release(1, 1001);
  const points = tracks.take();
  assert.ok(points.length <= MAX_POINTS_PER_MESSAGE, `${points.length} points`);
  assert.deepEqual(phases(points.slice(0, 2)), ["down", "down"]);
  assert.deepEqual(points.at(-1), { id: points[0].id, phase: "up", x: 1, y: 0 });
  assert.equal(points.findLast(({ id }) => id === points[1].id).x, 1);
});

test("thinning keeps where the finger is now", () => {
  const tracks = new Tracks();
  tracks.press(1, 0, 0, 0);
  for (let step = 1; step <= MAX_POINTS_PER_MESSAGE; step += 1) tracks.move(1, step / 100, 0, step);
  const points = tracks.take();
  assert.deepEqual(phases(points), ["down", "move"]);
  assert.equal(points[1].x, MAX_POINTS_PER_MESSAGE / 100);
});

test("what does not fit into one message waits for the next", () => {
  const tracks = new Tracks();
  for (let round = 0; round < 40; round += 1) {
    tracks.press(1, round / 40, 0, 0);
    tracks.release(1, 0);
  }
  assert.equal(tracks.take().length, MAX_POINTS_PER_MESSAGE);
  assert.equal(tracks.take().length, 16);
});

test("an anchor is set once and taken away at the same place", () => {
  const tracks = new Tracks();
  assert.equal(tracks.toggleAnchor(0.5, 0.5), null);
  const [anchor] = tracks.take();
  assert.equal(anchor.phase, "anchor");
  assert.equal(tracks.toggleAnchor(0.52, 0.49), anchor.id);
  assert.equal(tracks.live, 0);
});

test("clear lets go of everything, also of what was not sent", () => {
  const tracks = new Tracks();
  tracks.press(1, 0.5, 0.5, 0);
  tracks.toggleAnchor(0.1, 0.1);
  tracks.clear(10);
  assert.equal(tracks.live, 0);
  assert.deepEqual(tracks.take(), []);
});

test("after a lost connection what is held is told again", () => {
  const tracks = new Tracks();
  tracks.press(1, 0.1, 0.1, 0);
  tracks.toggleAnchor(0.8, 0.8);
  tracks.take();
  tracks.move(1, 0.4, 0.4, 5);
  tracks.restate();
  assert.deepEqual(tracks.take().map(({ phase, x }) => [phase, x]), [["anchor", 0.8], ["down", 0.4]]);
});

test("a released trail fades and is gone", () => {
  const tracks = new Tracks();
  tracks.press(1, 0.1, 0.1, 0);
  tracks.move(1, 0.2, 0.2, 50);
  tracks.release(1, 100);
  const [held] = tracks.trails(550);
  assert.ok(Math.abs(Tracks.strength(held, 550) - 0.5) < 1e-9);
  assert.deepEqual(tracks.trails(1000), []);
});

test("a held trail keeps its strength and only its recent path", () => {
  const tracks = new Tracks();
  tracks.press(1, 0, 0, 0);
  for (let step = 1; step <= 200; step += 1) tracks.move(1, step / 200, 0, step * 20);
  const [held] = tracks.trails(4000);
  assert.equal(Tracks.strength(held, 4000), 1);
  assert.ok(held.trail.length <= 48);
  assert.equal(held.trail.at(-1).x, 1);
});
