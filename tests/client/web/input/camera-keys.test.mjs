import assert from "node:assert/strict";
import { test } from "node:test";

import { CameraKeys, MOVE_SPEED, TURN_SPEED } from "../../../../client/web/input/camera-keys.js";

function setUp() {
  const told = [];
  return { told, keys: new CameraKeys((motion) => told.push(motion)) };
}

const STILL = { translation: [0, 0, 0], rotation: [0, 0, 0] };

test("keys move by their place, and stop when they are released", () => {
  const { told, keys } = setUp();
  keys.press("KeyW", "keyboard");
  keys.press("ArrowLeft", "keyboard");
  assert.deepEqual(keys.motion, { translation: [0, 0, MOVE_SPEED], rotation: [0, -TURN_SPEED, 0] });
  keys.release("KeyW", "keyboard");
  keys.release("ArrowLeft", "keyboard");
  assert.deepEqual(told.at(-1), STILL);
  assert.equal(told.length, 4);
});

test("every key has its way: right, down, forward, and up, right to turn", () => {
  const ways = {
    KeyD: ["translation", 0, 1], KeyA: ["translation", 0, -1], KeyQ: ["translation", 1, 1], KeyE: ["translation", 1, -1],
    KeyW: ["translation", 2, 1], KeyS: ["translation", 2, -1], ArrowUp: ["rotation", 0, 1],
    ArrowDown: ["rotation", 0, -1], ArrowRight: ["rotation", 1, 1], ArrowLeft: ["rotation", 1, -1],
  };
  for (const [code, [part, axis, sign]] of Object.entries(ways)) {
    const { keys } = setUp();
    keys.press(code, "keyboard");
    assert.equal(Math.sign(keys.motion[part][axis]), sign, code);
    assert.equal(Object.values(keys.motion).flat().filter(Boolean).length, 1, code);
  }
});

test("against each other they cancel, and nothing is told twice", () => {
  const { told, keys } = setUp();
  keys.press("KeyA", "keyboard");
  keys.press("KeyD", "keyboard");
  assert.deepEqual(told.at(-1), STILL);
  keys.press("KeyD", "keyboard");
  assert.equal(told.length, 2);
});

test("what two fingers hold stops when both have let go", () => {
  const { told, keys } = setUp();
  keys.press("KeyW", "pointer 1");
  keys.press("KeyW", "keyboard");
  keys.release("KeyW", "pointer 1");
  assert.equal(told.length, 1);
  keys.release("KeyW", "keyboard");
  assert.deepEqual(told.at(-1), STILL);
  keys.release("KeyW", "keyboard");
  assert.equal(told.length, 2);
});

test("letting go of everything stops at once", () => {
  const { told, keys } = setUp();
  keys.press("KeyW", "keyboard");
  keys.press("ArrowUp", "keyboard");
  keys.releaseAll();
  assert.deepEqual(told.at(-1), STILL);
  assert.equal(keys.holds("KeyW"), false);
});

test("a faster camera is faster while it moves, too", () => {
  const { told, keys } = setUp();
  keys.press("KeyD", "keyboard");
  keys.speed = 2;
  assert.deepEqual(told.at(-1).translation, [2 * MOVE_SPEED, 0, 0]);
});

test("a camera that goes by keys has no up and down", () => {
  const { told, keys } = setUp();
  keys.kind = "wasd";
  keys.press("KeyQ", "keyboard");
  assert.equal(told.length, 0);
  assert.ok(!keys.takes("KeyE") && keys.takes("KeyW") && keys.takes("ArrowUp"));
});

test("other keys are nobody's", () => {
  const { told, keys } = setUp();
  for (const code of ["KeyT", "Space", "Digit1", "constructor", ""]) keys.press(code, "keyboard");
  assert.equal(told.length, 0);
});

test("after a resume the server hears it again", () => {
  const { told, keys } = setUp();
  keys.restate();
  assert.deepEqual(told, [STILL]);
});
