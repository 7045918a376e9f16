import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { flaws, placed, WORDS } from "../../../../client/web/face/placement.js";
import { Crop } from "../../../../client/web/input/crop.js";

const { guide, words, cases } = JSON.parse(readFileSync(new URL("../../../fixtures/face/vectors.json", import.meta.url)));

const near = (value, expected, what) => assert.ok(Math.abs(value - expected) < 1e-4, `${what}: ${value}, not ${expected}`);

for (const { name, points, presence, light, count, placed: wanted, flaws: expected } of cases) {
  test(`a face ${name} is cut out so that it lies as wanted`, () => {
    const part = placed(points, guide);
    for (const key of ["x", "y", "side"]) near(part[key], wanted[key], key);
    near(Math.cos(part.angle - wanted.angle), 1, "angle");
    assert.deepEqual(flaws(points, presence, light, count), expected);
  });
}

test("page and server use the same words", () => assert.deepEqual(WORDS, words));

test("the crop tool shows what was placed, its eyes under the marks", () => {
  for (const { points, placed: part } of cases.filter(({ placed: { angle } }) => Math.abs(angle) < Math.PI / 4)) {
    const crop = new Crop(1600, 1400);
    crop.show({ ...placed(points, guide), side: Math.max(part.side, 200) });
    const { x, y, width } = crop.place;
    const [c, s] = [Math.cos(-crop.angle), Math.sin(-crop.angle)];
    const [u, v] = [x + (part.x * width) / 1600 - 0.5, y + (part.y * width) / 1600 - 0.5];
    near(c * u - s * v, 0, "middle, across");
    near(s * u + c * v, 0, "middle, down");
  }
});
