/** Draws tracks over the picture: held points with fading trails, anchors, the keyboard cursor. */

import { Tracks } from "../input/tracks.js";

/**
 * @import { Anchor, Held } from "../input/tracks.js"
 * @typedef {{x: number, y: number, held: boolean}} Cursor
 */

const LIGHT = "rgb(255, 255, 255)";
const SHADE = "rgb(20, 25, 32)";

export class Overlay {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this._canvas = canvas;
    const context = canvas.getContext("2d");
    if (!context) throw new Error("this browser has no 2d canvas");
    this._context = context;
    this._blank = true;
  }

  /**
   * @param {Tracks} tracks
   * @param {Cursor | null} cursor  of the keyboard, when it is in use
   * @param {number} nowMs
   */
  draw(tracks, cursor, nowMs) {
    const trails = tracks.trails(nowMs);
    const blank = trails.length === 0 && tracks.anchors.length === 0 && cursor === null;
    if (blank && this._blank) return;
    this._blank = blank;
    this._fit();
    trails.forEach((held) => this._drawHeld(held, nowMs));
    tracks.anchors.forEach((anchor) => this._drawAnchor(anchor));
    if (cursor) this._drawCursor(cursor);
  }

  /** Follow the size on screen, and start from a clear canvas. */
  _fit() {
    const scale = globalThis.devicePixelRatio || 1;
    const width = Math.round(this._canvas.clientWidth * scale);
    const height = Math.round(this._canvas.clientHeight * scale);
    if (this._canvas.width !== width) this._canvas.width = width;
    if (this._canvas.height !== height) this._canvas.height = height;
    this._context.setTransform(scale, 0, 0, scale, 0, 0);
    this._context.clearRect(0, 0, width, height);
    this._context.lineCap = "round";
    this._context.lineJoin = "round";
  }

  /** @param {{x: number, y: number}} place */
  _at({ x, y }) {
    return { x: x * this._canvas.clientWidth, y: y * this._canvas.clientHeight };
  }

  /** @param {Held} held @param {number} nowMs */
  _drawHeld(held, nowMs) {
    const context = this._context;
    context.globalAlpha = Tracks.strength(held, nowMs);
    const points = held.trail.map((point) => this._at(point));
    this._trail(points, SHADE, 2, 5);
    this._trail(points, LIGHT, 0.5, 2.5);
    const { x, y } = this._at(held);
    this._ring(x, y, held.releasedMs === null ? 15 : 9);
    context.globalAlpha = 1;
  }

  /** A line that grows thicker towards its newest point. @param {{x: number, y: number}[]} points @param {string} colour @param {number} thin @param {number} growth */
  _trail(points, colour, thin, growth) {
    for (let index = 1; index < points.length; index += 1) {
      this._line(points[index - 1], points[index], colour, thin + (growth * index) / points.length);
    }
  }

  /** @param {Anchor} anchor */
  _drawAnchor(anchor) {
    const { x, y } = this._at(anchor);
    this._stroke(SHADE, 5, () => this._context.rect(x - 8, y - 8, 16, 16));
    this._stroke(LIGHT, 2, () => this._context.rect(x - 8, y - 8, 16, 16));
    this._dot(x, y, 2.5);
  }

  /** @param {Cursor} cursor */
  _drawCursor(cursor) {
    const { x, y } = this._at(cursor);
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      const from = { x: x + dx * 7, y: y + dy * 7 };
      const to = { x: x + dx * 18, y: y + dy * 18 };
      this._line(from, to, SHADE, 5);
      this._line(from, to, LIGHT, 2);
    }
    if (!cursor.held) this._dot(x, y, 2);
  }

  /** @param {number} x @param {number} y @param {number} radius */
  _ring(x, y, radius) {
    this._stroke(SHADE, 5, () => this._context.arc(x, y, radius, 0, 2 * Math.PI));
    this._stroke(LIGHT, 2, () => this._context.arc(x, y, radius, 0, 2 * Math.PI));
    this._dot(x, y, 3);
  }

  /** @param {number} x @param {number} y @param {number} radius */
  _dot(x, y, radius) {
    this._context.beginPath();
    this._context.arc(x, y, radius, 0, 2 * Math.PI);
    this._context.fillStyle = LIGHT;
    this._context.fill();
  }

  /** @param {{x: number, y: number}} from @param {{x: number, y: number}} to @param {string} colour @param {number} width */
  _line(from, to, colour, width) {
    this._stroke(colour, width, () => {
      this._context.moveTo(from.x, from.y);
      this._context.lineTo(to.x, to.y);
    });
  }

  /** @param {string} colour @param {number} width @param {() => void} path */
  _stroke(colour, width, path) {
    this._context.beginPath();
    path();
    this._context.strokeStyle = colour;
    this._context.lineWidth = width;
    this._context.stroke();
  }
}
