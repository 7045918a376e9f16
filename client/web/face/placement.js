/**
 * How a face is brought to where a model wants it, and what of it will not do: geometry alone.
 *
 * models/face/placement.py does the same; tests/fixtures/face/vectors.json holds both to it.
 *
 * @import { PictureGuide } from "../net/messages.js"
 * @typedef {[number, number]} Point  x to the right, y down
 * @typedef {{x: number, y: number, side: number, angle: number}} Square  a part of a picture in its
 *   pixels: middle, side, and by how much it is turned clockwise, radians
 * @typedef {"none" | "several" | "hidden" | "turned" | "dark" | "closed" | "open"} Flaw
 */

/** What a person is told. @type {Record<Flaw, string>} */
export const WORDS = {
  none: "No face was found: place the picture by hand.",
  several: "There are several faces: the largest is taken.",
  hidden: "The face is partly hidden: hands, hair and masks move with it.",
  turned: "The face looks aside: one from the front works better.",
  dark: "The face is too dark: take a picture with more light on it.",
  closed: "The eyes look closed: take a picture with open eyes.",
  open: "The mouth is open: with closed lips it speaks better.",
};

// points of Face Mesh, from left to right in the picture, from top to bottom
const EYES = [[33, 133], [362, 263]];
const LIDS = [[159, 145], [386, 374]];
const LIPS = [13, 14];
const NOSE = 1;
const CHEEKS = [234, 454];

/** Presence below which a part of a face is covered. */
const ALL_SEEN = 0.97;
/** Of the face's width, the nose beside its middle: as turned by 20 degrees. */
const ASIDE = 0.3;
/** Levels of 255, of what is light in a face. */
const DARK = 55;
/** Height of an eye over its width. */
const CLOSED = 0.22;
/** Gap of the lips over the distance of the eyes. */
const OPEN = 0.1;

/**
 * The square to cut out of a picture for the face whose points these are: the eyes become level; size
 * and place are the least squares fit of eyes and mouth.
 *
 * @param {ArrayLike<Point>} points  468 @param {PictureGuide} guide @returns {Square}
 */
export function placed(points, guide) {
  const eyes = EYES.map(([a, b]) => middle([points[a], points[b]]));
  const angle = Math.atan2(eyes[1][1] - eyes[0][1], eyes[1][0] - eyes[0][0]);
  const face = [...eyes, middle(LIPS.map((k) => points[k]))].map((point) => turned(point, -angle));
  /** @type {Point[]} */
  const wanted = [guide.eyes[0], guide.eyes[1], guide.mouth];
  const [fx, fy] = middle(face);
  const [wx, wy] = middle(wanted);
  let shared = 0;
  let spread = 0;
  wanted.forEach(([x, y], k) => {
    shared += (face[k][0] - fx) * (x - wx) + (face[k][1] - fy) * (y - wy);
    spread += (x - wx) ** 2 + (y - wy) ** 2;
  });
  const side = shared / spread;
  const [x, y] = turned([fx + side * (0.5 - wx), fy + side * (0.5 - wy)], angle);
  return { x, y, side, angle };
}

/**
 * What a person should know of the face that was found, the worst last.
 *
 * @param {ArrayLike<Point>} points  468
 * @param {number} presence  how sure the mesh is that it sees a face
 * @param {number} light  the level, 0..255, that one tenth of the face exceeds
 * @param {number} count  of faces in the picture
 * @returns {Flaw[]}
 */
export function flaws(points, presence, light, count) {
  const [left, right] = EYES.map(([a, b]) => middle([points[a], points[b]]));
  const opened = LIDS.map(([a, b], k) => apart(points[a], points[b]) / apart(points[EYES[k][0]], points[EYES[k][1]]));
  const [from, to] = CHEEKS.map((k) => points[k]);
  const across = [to[0] - from[0], to[1] - from[1]];
  const nose = ((points[NOSE][0] - from[0]) * across[0] + (points[NOSE][1] - from[1]) * across[1]) / (across[0] ** 2 + across[1] ** 2);
  /** @type {[Flaw, boolean][]} */
  const found = [
    ["several", count > 1],
    ["open", apart(points[LIPS[0]], points[LIPS[1]]) > OPEN * apart(left, right)],
    ["closed", Math.max(...opened) < CLOSED],
    ["dark", light < DARK],
    ["turned", Math.abs(nose - 0.5) > ASIDE],
    ["hidden", presence < ALL_SEEN],
  ];
  return found.filter(([, there]) => there).map(([flaw]) => flaw);
}

/** @param {Point[]} points @returns {Point} */
function middle(points) {
  const sum = points.reduce(([x, y], point) => [x + point[0], y + point[1]], [0, 0]);
  return [sum[0] / points.length, sum[1] / points.length];
}

/** Clockwise. @param {Point} point @param {number} angle @returns {Point} */
export function turned([x, y], angle) {
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  return [c * x - s * y, s * x + c * y];
}

/** @param {Point} a @param {Point} b */
function apart(a, b) {
  return Math.hypot(a[0] - b[0], a[1] - b[1]);
}
