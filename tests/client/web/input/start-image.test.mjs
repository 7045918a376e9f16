import assert from "node:assert/strict";
import { test } from "node:test";

import { base64Of, middle } from "../../../../client/web/input/start-image.js";

test("the largest part in the middle has the shape that is wanted", () => {
  const wide = { width: 832, height: 480 };
  assert.deepEqual(middle({ width: 832, height: 480 }, wide), { x: 0, y: 0, width: 832, height: 480 });
  const tall = middle({ width: 832, height: 1200 }, wide);
  assert.deepEqual(tall, { x: 0, y: 360, width: 832, height: 480 });
  const part = middle({ width: 3000, height: 480 }, { width: 480, height: 832 });
  assert.ok(Math.abs(part.width / part.height - 480 / 832) < 1e-9);
  assert.ok(Math.abs(part.height - 480) < 1e-9);
  assert.equal(part.x, (3000 - part.width) / 2);
});

test("a data URL without its head is base64", () => {
  assert.equal(base64Of("data:image/jpeg;base64,AAAA"), "AAAA");
});
