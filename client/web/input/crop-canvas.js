/** Draws a picture as it is placed, with or without the marks for eyes and mouth. */

import { Crop } from "./crop.js";

/** @import { PictureGuide } from "../net/messages.js" */

const LIGHT = "rgb(255, 255, 255)";
const SHADE = "rgb(10 14 20 / 0.6)";
/** What shows through where a picture is transparent, as on the server. */
const BEHIND = "rgb(200, 200, 200)";
/** What surrounds a picture are the colours of its edges, from so few pixels. */
const BLURRED_SIDE = 8;
const JPEG_QUALITY = 0.92;

/** @param {HTMLCanvasElement} canvas */
function contextOf(canvas) {
  const context = canvas.getContext("2d");
  if (!context) throw new Error("this browser has no 2d canvas");
  return context;
}

/** @param {number} side */
function square(side) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = side;
  return canvas;
}

/** @param {HTMLCanvasElement} canvas  a square @param {ImageBitmap} picture @param {Crop} crop */
export function drawPlaced(canvas, picture, crop) {
  const context = contextOf(canvas);
  const side = canvas.width;
  const blurred = square(BLURRED_SIDE);
  fill(contextOf(blurred), 0, 0, BLURRED_SIDE, BLURRED_SIDE);
  contextOf(blurred).drawImage(picture, 0, 0, BLURRED_SIDE, BLURRED_SIDE);
  fill(context, 0, 0, side, side);
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  context.save();
  context.translate(side / 2, side / 2);
  context.rotate(-crop.angle);
  context.translate(-side / 2, -side / 2);
  const { x, y, width, height } = crop.place;
  for (const [fromX, pixelsX, toX, lengthX] of stretches(x * side, width * side, side)) {
    for (const [fromY, pixelsY, toY, lengthY] of stretches(y * side, height * side, side)) {
      context.drawImage(blurred, fromX, fromY, pixelsX, pixelsY, toX, toY, lengthX, lengthY);
    }
  }
  fill(context, x * side, y * side, width * side, height * side);
  context.drawImage(picture, x * side, y * side, width * side, height * side);
  context.restore();
}

/** @param {CanvasRenderingContext2D} context @param {number} x @param {number} y @param {number} width @param {number} height */
export function fill(context, x, y, width, height) {
  context.fillStyle = BEHIND;
  context.fillRect(x, y, width, height);
}

/**
 * The parts of a blurred picture along one axis, its two edges drawn out over a whole window each:
 * first pixel, pixels, and where and how long they are drawn.
 *
 * @param {number} start @param {number} length @param {number} side
 * @returns {[number, number, number, number][]}
 */
function stretches(start, length, side) {
  return [[0, 1, start - side, side], [BLURRED_SIDE - 1, 1, start + length, side], [0, BLURRED_SIDE, start, length]];
}

/** Where the model expects the face. @param {HTMLCanvasElement} canvas @param {PictureGuide} guide */
export function drawGuide(canvas, guide) {
  const context = contextOf(canvas);
  const side = canvas.width;
  const [left, right] = guide.eyes.map(([x, y]) => ({ x: x * side, y: y * side }));
  const mouth = { x: guide.mouth[0] * side, y: guide.mouth[1] * side };
  const apart = right.x - left.x;
  const middle = { x: (left.x + right.x) / 2, y: left.y + 0.2 * (mouth.y - left.y) };
  context.lineCap = "round";
  for (const [colour, width] of /** @type {const} */ ([[SHADE, 0.016], [LIGHT, 0.007]])) {
    context.strokeStyle = colour;
    context.lineWidth = width * side;
    context.setLineDash([0.02 * side, 0.025 * side]);
    oval(context, middle.x, middle.y, 1.25 * apart, 1.6 * apart);
    context.setLineDash([]);
    for (const eye of [left, right]) oval(context, eye.x, eye.y, 0.26 * apart, 0.17 * apart);
    context.beginPath();
    context.moveTo(mouth.x - 0.36 * apart, mouth.y);
    context.lineTo(mouth.x + 0.36 * apart, mouth.y);
    context.stroke();
  }
}

/** The square as the model gets it. @param {ImageBitmap} picture @param {Crop} crop @param {number} side */
export function cutOut(picture, crop, side) {
  const canvas = square(side);
  drawPlaced(canvas, picture, crop);
  return canvas.toDataURL("image/jpeg", JPEG_QUALITY);
}

/** @param {CanvasRenderingContext2D} context @param {number} x @param {number} y @param {number} rx @param {number} ry */
function oval(context, x, y, rx, ry) {
  context.beginPath();
  context.ellipse(x, y, rx, ry, 0, 0, 2 * Math.PI);
  context.stroke();
}
