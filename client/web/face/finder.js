/**
 * Faces in a picture: BlazeFace says where they are, Face Mesh where 468 points of one lie.
 *
 * As models/face/finder.py, which tells more: the mesh looks at a square of one and a half times the
 * face, turned so that its eyes are level.
 */

import { turned } from "./placement.js";

/**
 * @import { Network } from "./networks.js"
 * @import { Point, Square } from "./placement.js"
 * @typedef {(part: Square, side: number) => Uint8ClampedArray} Cut  a part of the picture, `side`
 *   pixels wide, RGBA, black outside of it
 * @typedef {{points: Point[], presence: number}} Face
 * @typedef {{score: number, places: Point[], size: number}} Box  middle and eyes; width
 */

const SURE = 0.5;
/** Boxes that share more than this of what both cover are of one face. */
const SAME = 0.3;
const AROUND = 1.5;
const EYE_CORNERS = [33, 263];
/** Of the mesh, the second where the first found the face. */
const PASSES = 2;
/** The whole is looked through and, if there is no face, squares of half its side. */
const PARTS = [1, 2];
/** Of what is detected: the mesh says which of these are faces. */
const MOST_TRACED = 8;
/** Pixels between the detector's anchors, and how many are at each place. */
const GRIDS = [[8, 2], [16, 6]];

/**
 * The largest face, and how many there are.
 *
 * @param {Record<string, Network>} networks @param {{width: number, height: number}} picture @param {Cut} cut
 * @returns {{face: Face | null, count: number}}
 */
export function find({ detector, mesh }, picture, cut) {
  for (const parts of PARTS) {
    const boxes = detected(detector, overlapping(picture, parts), cut);
    boxes.sort((a, b) => b.size - a.size);
    const faces = boxes.slice(0, MOST_TRACED).map((box) => traced(mesh, box, cut)).filter(({ presence }) => presence >= SURE);
    if (faces.length) return { face: faces[0], count: faces.length };
  }
  return { face: null, count: 0 };
}

/** @param {Network} mesh @param {Box} box @param {Cut} cut @returns {Face} */
function traced(mesh, { places: [[x, y], left, right], size }, cut) {
  /** @type {Square} */
  let around = { x, y, side: AROUND * size, angle: Math.atan2(right[1] - left[1], right[0] - left[0]) };
  /** @type {Face} */
  let face = { points: [], presence: 0 };
  for (let pass = 0; pass < PASSES; pass += 1) {
    const [raw, flag] = mesh.run(colours(cut(around, mesh.side), 1 / 255, 0));
    const { side } = mesh;
    const points = Array.from({ length: raw.length / 3 }, (_, k) => putBack([raw[3 * k], raw[3 * k + 1]], around, side));
    face = { points, presence: sigmoid(flag[0]) };
    around = squareAround(points);
  }
  return face;
}

/** The square that the mesh looks at, of a face whose points are known. @param {Point[]} points @returns {Square} */
function squareAround(points) {
  const [left, right] = EYE_CORNERS.map((k) => points[k]);
  const angle = Math.atan2(right[1] - left[1], right[0] - left[0]);
  const level = points.map((point) => turned(point, -angle));
  const [low, high] = [Math.min, Math.max].map((most) => [0, 1].map((axis) => most(...level.map((point) => point[axis]))));
  const [x, y] = turned([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2], angle);
  return { x, y, side: AROUND * Math.max(high[0] - low[0], high[1] - low[1]), angle };
}

/** @param {Network} detector @param {Square[]} parts @param {Cut} cut */
function detected(detector, parts, cut) {
  const { side } = detector;
  const anchors = anchorsOf(side);
  /** @type {Box[]} */
  const boxes = [];
  for (const part of parts) {
    const [places, scores] = detector.run(colours(cut(part, side), 1 / 127.5, -1));
    scores.forEach((raw, k) => {
      const score = sigmoid(raw);
      if (score < SURE) return;
      // middle, size, eyes and four more points, from the anchor on
      const from = 16 * k;
      const at = [0, 4, 6].map((shift) => putBack([places[from + shift] + anchors[k][0], places[from + shift + 1] + anchors[k][1]], part, side));
      boxes.push({ score, places: at, size: (Math.max(places[from + 2], places[from + 3]) * part.side) / side });
    });
  }
  return distinct(boxes);
}

/** Of boxes of one face the surest. @param {Box[]} boxes */
function distinct(boxes) {
  /** @type {Box[]} */
  const kept = [];
  for (const box of boxes.sort((a, b) => b.score - a.score)) {
    if (kept.every((other) => shared(box, other) <= SAME)) kept.push(box);
  }
  return kept;
}

/** What both cover as a share of what either does. @param {Box} one @param {Box} other */
function shared(one, other) {
  const half = (one.size + other.size) / 2;
  const [width, height] = [0, 1].map((axis) => {
    const along = half - Math.abs(one.places[0][axis] - other.places[0][axis]);
    return Math.max(0, Math.min(along, one.size, other.size));
  });
  return (width * height) / (one.size ** 2 + other.size ** 2 - width * height);
}

/** Squares that have the `parts`th of a picture's side, each half over the next. @param {{width: number, height: number}} picture @param {number} parts */
function overlapping({ width, height }, parts) {
  const side = Math.max(width, height) / parts;
  const steps = Array.from({ length: 2 * parts - 1 }, (_, k) => ((k - (parts - 1)) * side) / 2);
  const all = steps.flatMap((down) => steps.map((right) => ({ right, down })));
  return all
    .filter(({ right, down }) => Math.abs(right) < (width + side) / 2 && Math.abs(down) < (height + side) / 2)
    .map(({ right, down }) => ({ x: width / 2 + right, y: height / 2 + down, side, angle: 0 }));
}

/** Where the detector's places are counted from, in its pixels. @param {number} side */
function anchorsOf(side) {
  return GRIDS.flatMap(([step, times]) => {
    const across = side / step;
    return Array.from({ length: across * across * times }, (_, k) => {
      const cell = Math.floor(k / times);
      return [((cell % across) + 0.5) * step, (Math.floor(cell / across) + 0.5) * step];
    });
  });
}

/** @param {Uint8ClampedArray} pixels  RGBA @param {number} scale @param {number} shift */
function colours(pixels, scale, shift) {
  const values = new Float32Array((pixels.length / 4) * 3);
  for (let k = 0; k < values.length; k += 1) values[k] = pixels[Math.floor(k / 3) * 4 + (k % 3)] * scale + shift;
  return values;
}

/** A point in pixels of a cut as one of the picture. @param {Point} point @param {Square} part @param {number} side @returns {Point} */
function putBack([x, y], part, side) {
  const [right, down] = turned([(x / side - 0.5) * part.side, (y / side - 0.5) * part.side], part.angle);
  return [part.x + right, part.y + down];
}

/** @param {number} x */
function sigmoid(x) {
  return 1 / (1 + Math.exp(-x));
}
