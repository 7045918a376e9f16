import assert from "node:assert/strict";
import { test } from "node:test";

import { meantKey } from "../../../../client/web/input/keyboard.js";

const pressed = (key, code, shiftKey = false) => meantKey({ key, code, shiftKey });

test("a Latin letter is the one on the key, wherever it is", () => {
  assert.equal(pressed("t", "KeyT"), "t");
  assert.equal(pressed("T", "KeyT", true), "t");
  assert.equal(pressed("a", "KeyQ"), "a"); // a French keyboard
  assert.equal(pressed("m", "Semicolon"), "m");
});

test("on a keyboard of another alphabet the place of the key counts", () => {
  assert.equal(pressed("е", "KeyT"), "t"); // Russian
  assert.equal(pressed("Ш", "KeyI", true), "i");
  assert.equal(pressed("τ", "KeyT"), "t"); // Greek
  assert.equal(pressed("א", "KeyT"), "t"); // Hebrew
  assert.equal(pressed("ㅅ", "KeyT"), "t"); // Korean
  assert.equal(pressed("؟", "Slash", true), "?"); // Arabic
});

test("what is no letter is what it is", () => {
  assert.equal(pressed(" ", "Space"), " ");
  assert.equal(pressed("?", "Minus", true), "?"); // German
  assert.equal(pressed("Escape", "Escape"), "Escape");
  assert.equal(pressed("é", "Digit2"), "é");
});
