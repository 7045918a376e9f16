/** Looks for a face beside the page, which goes on meanwhile: a picture comes in, its face goes out. */

import { find } from "./finder.js";
import { readNetworks } from "./networks.js";
import { flaws } from "./placement.js";

/**
 * @import { Square } from "./placement.js"
 * @import { FoundFace } from "./face-search.js"
 */

const LIGHT_SIDE = 64;

const networks = fetch(new URL("networks.safetensors", import.meta.url)).then(async (answer) => {
  if (!answer.ok) throw new Error(`the networks that find faces: ${answer.status}`);
  return readNetworks(await answer.arrayBuffer());
});

/** @param {MessageEvent<ImageBitmap>} event  answered with a FoundFace, or null where none can be looked for */
self.onmessage = ({ data: picture }) => {
  void networks.then((loaded) => look(loaded, picture)).catch(() => null).then((found) => self.postMessage(found));
};

/** @param {Awaited<typeof networks>} loaded @param {ImageBitmap} picture @returns {FoundFace} */
function look(loaded, picture) {
  const { face, count } = find(loaded, picture, (part, side) => cut(picture, part, side));
  if (!face) return { points: null, flaws: ["none"] };
  return { points: face.points, flaws: flaws(face.points, face.presence, light(picture, face.points), count) };
}

/** @param {ImageBitmap} picture @param {Square} part @param {number} side */
function cut(picture, part, side) {
  const context = new OffscreenCanvas(side, side).getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error("this browser has no 2d canvas in workers");
  const scale = side / part.side;
  context.fillRect(0, 0, side, side);
  context.imageSmoothingQuality = "high";
  context.translate(side / 2, side / 2);
  context.rotate(-part.angle);
  context.scale(scale, scale);
  context.drawImage(picture, -part.x, -part.y);
  return context.getImageData(0, 0, side, side).data;
}

/** The level that one tenth of the face exceeds. @param {ImageBitmap} picture @param {[number, number][]} points */
function light(picture, points) {
  const xs = points.map(([x]) => x);
  const ys = points.map(([, y]) => y);
  const [left, top, right, bottom] = [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
  const part = { x: (left + right) / 2, y: (top + bottom) / 2, side: Math.max(right - left, bottom - top), angle: 0 };
  const pixels = cut(picture, part, LIGHT_SIDE);
  const levels = Array.from({ length: LIGHT_SIDE ** 2 }, (_, k) => 0.299 * pixels[4 * k] + 0.587 * pixels[4 * k + 1] + 0.114 * pixels[4 * k + 2]);
  return levels.sort((a, b) => a - b)[Math.floor(0.9 * levels.length)];
}
