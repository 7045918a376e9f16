import assert from "node:assert/strict";
import { test } from "node:test";

import { Crop, MAX_ANGLE, MAX_ZOOM, MIN_ZOOM } from "../../../../client/web/input/crop.js";

const near = (value, expected, what) => assert.ok(Math.abs(value - expected) < 1e-9, `${what}: ${value}, not ${expected}`);

/** Where a point of the picture, 0..1 of it, is in the window. */
const at = (crop, u, v) => {
  const { x, y, width, height } = crop.place;
  return { x: x + u * width, y: y + v * height };
};

test("a picture begins covering the window, a tall one nearer to its top", () => {
  assert.deepEqual(new Crop(300, 300).place, { x: 0, y: 0, width: 1, height: 1 });
  const wide = new Crop(300, 100).place;
  assert.deepEqual([wide.x, wide.width, wide.height], [-1, 3, 1]);
  const tall = new Crop(100, 300).place;
  assert.deepEqual([tall.x, tall.width, tall.height], [0, 1, 3]);
  assert.ok(tall.y < 0 && tall.y > -1);
});

test("a head at the edge of its picture can be moved to the middle, and no further", () => {
  const crop = new Crop(200, 100);
  crop.move(5, 5);
  assert.deepEqual([crop.place.x, crop.place.y], [0.5, 0.5]);
  crop.move(-5, -5);
  assert.deepEqual([crop.place.x, crop.place.y], [-1.5, -0.5]);
  crop.zoomTo(0.5);
  crop.move(-5, 5);
  assert.deepEqual([crop.place.x, crop.place.y], [-0.5, 0.5]);
});

test("zooming keeps what is under the pointer and has its limits", () => {
  const crop = new Crop(400, 300);
  crop.zoomTo(2);
  crop.move(-0.2, -0.1);
  const about = { x: 0.3, y: 0.6 };
  const { x, y, width, height } = crop.place;
  const [u, v] = [(about.x - x) / width, (about.y - y) / height];
  crop.zoomTo(3, about);
  near(at(crop, u, v).x, about.x, "x");
  near(at(crop, u, v).y, about.y, "y");
  crop.zoomTo(100);
  assert.equal(crop.zoom, MAX_ZOOM);
  crop.zoomTo(0);
  assert.equal(crop.zoom, MIN_ZOOM);
});

test("one finger drags, two fingers hold what is under them", () => {
  const crop = new Crop(100, 100);
  crop.zoomTo(4);
  const start = crop.place;
  crop.follow([{ x: 0.5, y: 0.5 }], [{ x: 0.6, y: 0.45 }]);
  near(crop.place.x, start.x + 0.1, "x");
  near(crop.place.y, start.y - 0.05, "y");
  assert.equal(crop.zoom, 4);

  const before = [{ x: 0.4, y: 0.5 }, { x: 0.6, y: 0.5 }];
  const { x, width } = crop.place;
  const held = before.map((finger) => (finger.x - x) / width);
  const after = [{ x: 0.35, y: 0.52 }, { x: 0.65, y: 0.52 }];
  crop.follow(before, after);
  near(crop.zoom, 6, "zoom");
  held.forEach((u, finger) => near(at(crop, u, 0).x, after[finger].x, `finger ${finger}`));
});

test("two fingers on one point do not break it", () => {
  const crop = new Crop(100, 100);
  crop.follow([{ x: 0.5, y: 0.5 }, { x: 0.5, y: 0.5 }], [{ x: 0.4, y: 0.5 }, { x: 0.6, y: 0.5 }]);
  assert.equal(crop.zoom, 1);
});

/** Where a point of the picture, 0..1 of it, is seen in the window once the picture is turned. */
const seen = (crop, u, v) => {
  const { x, y } = at(crop, u, v);
  const [c, s] = [Math.cos(-crop.angle), Math.sin(-crop.angle)];
  return { x: 0.5 + c * (x - 0.5) - s * (y - 0.5), y: 0.5 + s * (x - 0.5) + c * (y - 0.5) };
};

test("a picture that is turned follows drags, zooms and turns about the point that is held", () => {
  const crop = new Crop(400, 300);
  crop.zoomTo(2);
  crop.turnTo(0.4, { x: 0.7, y: 0.6 });
  const before = seen(crop, 0.5, 0.6);
  crop.move(0.05, -0.08);
  near(seen(crop, 0.5, 0.6).x - before.x, 0.05, "across");
  near(seen(crop, 0.5, 0.6).y - before.y, -0.08, "down");
  const held = seen(crop, 0.55, 0.5);
  crop.turnTo(-0.3, held);
  crop.zoomTo(3, held);
  near(seen(crop, 0.55, 0.5).x, held.x, "held, across");
  near(seen(crop, 0.55, 0.5).y, held.y, "held, down");
});

test("two fingers turn it with them, as far as is permitted", () => {
  const crop = new Crop(300, 300);
  const fingers = (angle) => [-1, 1].map((way) => ({ x: 0.5 + way * 0.2 * Math.cos(angle), y: 0.5 + way * 0.2 * Math.sin(angle) }));
  const held = seen(crop, 0.7, 0.5);
  crop.follow(fingers(0), fingers(0.2));
  near(crop.angle, -0.2, "angle");
  near(seen(crop, 0.7, 0.5).x, 0.5 + (held.x - 0.5) * Math.cos(0.2), "a point, across");
  near(seen(crop, 0.7, 0.5).y, 0.5 + (held.x - 0.5) * Math.sin(0.2), "a point, down");
  for (let k = 0; k < 9; k += 1) crop.follow(fingers(0), fingers(0.2));
  near(crop.angle, -MAX_ANGLE, "the most");
});
