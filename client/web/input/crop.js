/**
 * Where a picture lies in a square window: moved, zoomed, turned, never out of reach.
 *
 * All in window units: the window is 1 wide and high, the origin is its top left corner. At zoom 1
 * the picture just covers the window. A head may be near an edge of its picture, so a margin is
 * permitted: only the middle of the window has to lie on the picture.
 *
 * `angle` is how much of the picture is turned clockwise, which the window shows level: it is drawn
 * turned back by it, about the middle of the window. Places are those before that.
 */

/** @import { Square } from "../face/placement.js" */

/**
 * @typedef {{x: number, y: number}} Point
 * @typedef {{x: number, y: number, width: number, height: number}} Place
 */

export const MIN_ZOOM = 0.5;
export const MAX_ZOOM = 8;
/** Radians, to either side. */
export const MAX_ANGLE = Math.PI / 4;
/** A face is above the middle of a tall picture, as a rule. */
const FROM_TOP = 0.35;
const MIDDLE = { x: 0.5, y: 0.5 };

export class Crop {
  /** @param {number} width @param {number} height  of the picture, in any unit */
  constructor(width, height) {
    const shorter = Math.min(width, height);
    this._shorter = shorter;
    this._shape = { x: width / shorter, y: height / shorter };
    this.zoom = 1;
    this.angle = 0;
    this._at = { x: (1 - this._shape.x) / 2, y: (1 - this._shape.y) * FROM_TOP };
  }

  /** @returns {Place} of the whole picture */
  get place() {
    return { ...this._at, width: this._shape.x * this.zoom, height: this._shape.y * this.zoom };
  }

  /** A part of the picture fills the window, as far as the limits permit. @param {Square} part */
  show({ x, y, side, angle }) {
    this.angle = withinAngles(angle);
    this.zoom = withinZooms(this._shorter / side);
    const scale = this.zoom / this._shorter;
    this._put(0.5 - x * scale, 0.5 - y * scale);
  }

  /** @param {number} dx @param {number} dy */
  move(dx, dy) {
    const { x, y } = turned({ x: dx, y: dy }, this.angle);
    this._put(this._at.x + x, this._at.y + y);
  }

  /** The point of the picture under `about` stays there. @param {number} angle @param {Point} [about] */
  turnTo(angle, about = MIDDLE) {
    const before = this._before(about);
    this.angle = withinAngles(angle);
    const { x, y } = this._before(about);
    this._put(this._at.x + x - before.x, this._at.y + y - before.y);
  }

  /** The point of the picture under `about` stays there. @param {number} zoom @param {Point} [about] */
  zoomTo(zoom, about = MIDDLE) {
    const next = withinZooms(zoom);
    const growth = next / this.zoom;
    const { x, y } = this._before(about);
    this.zoom = next;
    this._put(x + (this._at.x - x) * growth, y + (this._at.y - y) * growth);
  }

  /** One finger drags, two also zoom and turn. @param {Point[]} before @param {Point[]} after  the same fingers */
  follow(before, after) {
    const from = middle(before);
    const to = middle(after);
    this.move(to.x - from.x, to.y - from.y);
    const spread = reach(before, from);
    if (spread > 0) this.zoomTo(this.zoom * (reach(after, to) / spread), to);
    if (before.length === 2) this.turnTo(this.angle - twist(before, after), to);
  }

  /** A point of the window before the picture was turned. @param {Point} point @returns {Point} */
  _before(point) {
    const { x, y } = turned({ x: point.x - MIDDLE.x, y: point.y - MIDDLE.y }, this.angle);
    return { x: MIDDLE.x + x, y: MIDDLE.y + y };
  }

  /** @param {number} x @param {number} y */
  _put(x, y) {
    const { width, height } = this.place;
    this._at = { x: aroundMiddle(x, width), y: aroundMiddle(y, height) };
  }
}

/** Clockwise. @param {Point} by @param {number} angle @returns {Point} */
function turned({ x, y }, angle) {
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  return { x: c * x - s * y, y: s * x + c * y };
}

/** How much two fingers turned, clockwise, the short way. @param {Point[]} before @param {Point[]} after */
function twist(before, after) {
  const [from, to] = [before, after].map(([a, b]) => Math.atan2(b.y - a.y, b.x - a.x));
  return Math.atan2(Math.sin(to - from), Math.cos(to - from));
}

/** @param {number} zoom */
function withinZooms(zoom) {
  return Math.max(MIN_ZOOM, Math.min(MAX_ZOOM, zoom));
}

/** @param {number} angle */
function withinAngles(angle) {
  return Math.max(-MAX_ANGLE, Math.min(MAX_ANGLE, angle));
}

/** @param {number} start @param {number} length */
function aroundMiddle(start, length) {
  return Math.max(0.5 - length, Math.min(0.5, start));
}

/** @param {Point[]} points @returns {Point} */
function middle(points) {
  const sum = points.reduce((a, b) => ({ x: a.x + b.x, y: a.y + b.y }), { x: 0, y: 0 });
  return { x: sum.x / points.length, y: sum.y / points.length };
}

/** Mean distance. @param {Point[]} points @param {Point} from */
function reach(points, from) {
  return points.reduce((sum, { x, y }) => sum + Math.hypot(x - from.x, y - from.y), 0) / points.length;
}
