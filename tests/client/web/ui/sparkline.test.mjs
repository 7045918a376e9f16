import assert from "node:assert/strict";
import { test } from "node:test";

import { sparklinePath } from "../../../../client/web/ui/sparkline.js";

test("nothing known draws nothing", () => {
  assert.equal(sparklinePath([]), "");
  assert.equal(sparklinePath([null, null]), "");
});

test("the newest value is at the right edge, the largest at the top", () => {
  assert.match(sparklinePath([1, 2, 4]), /L100\.0 2\.0$/);
});

test("a gap breaks the line", () => {
  assert.equal((sparklinePath([1, null, 2, 3]).match(/M/g) ?? []).length, 2);
});
