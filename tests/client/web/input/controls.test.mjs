import assert from "node:assert/strict";
import { test } from "node:test";

import { Controls } from "../../../../client/web/input/controls.js";

function setUp() {
  const world = { nowMs: 0, sent: [], live: true };
  world.controls = new Controls((message) => {
    if (world.live) world.sent.push(message);
    return world.live;
  }, () => world.nowMs);
  return world;
}

test("each control has an event id of its own", () => {
  const { controls, sent } = setUp();
  const ids = [controls.send("pause"), controls.send("prompt", { text: "a" })];
  assert.equal(new Set(ids).size, 2);
  assert.deepEqual(sent[1], { type: "prompt", event_id: ids[1], text: "a" });
});

test("what cannot be sent is not waited for", () => {
  const world = setUp();
  world.live = false;
  assert.equal(world.controls.send("pause"), null);
  assert.deepEqual(world.controls.shown(1e9, 0), []);
});

test("control to photon is measured to the first frame of its chunk or a later one", () => {
  const world = setUp();
  const id = world.controls.send("prompt", { text: "a" });
  world.nowMs = 50;
  assert.equal(world.controls.applied({ event_id: id, chunk: 7 }), "prompt");
  assert.deepEqual(world.controls.shown(6, 100), []);
  assert.deepEqual(world.controls.shown(8, 210), [210]);
  assert.deepEqual(world.controls.shown(9, 300), []);
});

test("a frame seen before the answer does not count", () => {
  const world = setUp();
  const id = world.controls.send("scene", { scene: "grid" });
  assert.deepEqual(world.controls.shown(100, 10), []);
  world.controls.applied({ event_id: id, chunk: 3 });
  assert.deepEqual(world.controls.shown(100, 20), [20]);
});

test("rejected and foreign answers are told apart and forgotten", () => {
  const { controls } = setUp();
  const id = controls.send("scene", { scene: "nowhere" });
  assert.equal(controls.rejected({ event_id: id }), "scene");
  assert.equal(controls.rejected({ event_id: id }), null);
  assert.equal(controls.applied({ event_id: "strange", chunk: 1 }), null);
});

test("unanswered controls are not kept without end", () => {
  const world = setUp();
  const ids = Array.from({ length: 500 }, () => world.controls.send("tracks"));
  assert.equal(world.controls.applied({ event_id: ids[0], chunk: 0 }), null);
  assert.equal(world.controls.applied({ event_id: ids[499], chunk: 0 }), "tracks");
});

test("a new session forgets what the old one was asked", () => {
  const world = setUp();
  const id = world.controls.send("prompt");
  world.controls.forget();
  assert.equal(world.controls.applied({ event_id: id, chunk: 0 }), null);
});
