/**
 * Where a picture lies in a square window: moved, zoomed, never out of reach.
 *
 * All in window units: the window is 1 wide and high, the origin is its top left corner. At zoom 1
 * the picture just covers the window. A head may be near an edge of its picture, so a margin is
 * permitted: only the middle of the window has to lie on the picture.
 */

/**
 * @typedef {{x: number, y: number}} Point
 * @typedef {{x: number, y: number, width: number, height: number}} Place
 */

export const MIN_ZOOM = 0.5;
export const MAX_ZOOM = 8;
/** A face is above the middle of a tall picture, as a rule. */
const FROM_TOP = 0.35;

export class Crop {
  /** @param {number} width @param {number} height  of the picture, in any unit */
  constructor(width, height) {
    const shorter = Math.min(width, height);
    this._shape = { x: width / shorter, y: height / shorter };
    this.zoom = 1;
    this._at = { x: (1 - this._shape.x) / 2, y: (1 - this._shape.y) * FROM_TOP };
  }

  /** @returns {Place} of the whole picture */
  get place() {
    return { ...this._at, width: this._shape.x * this.zoom, height: this._shape.y * this.zoom };
  }

  /** @param {number} dx @param {number} dy */
  move(dx, dy) {
    this._put(this._at.x + dx, this._at.y + dy);
  }

  /** The point of the picture under `about` stays there. @param {number} zoom @param {Point} [about] */
  zoomTo(zoom, about = { x: 0.5, y: 0.5 }) {
    const next = Math.max(MIN_ZOOM, Math.min(MAX_ZOOM, zoom));
    const growth = next / this.zoom;
    this.zoom = next;
    this._put(about.x + (this._at.x - about.x) * growth, about.y + (this._at.y - about.y) * growth);
  }

  /** One finger drags, two also zoom. @param {Point[]} before @param {Point[]} after  the same fingers */
  follow(before, after) {
    const from = middle(before);
    const to = middle(after);
    this.move(to.x - from.x, to.y - from.y);
    const spread = reach(before, from);
    if (spread > 0) this.zoomTo(this.zoom * (reach(after, to) / spread), to);
  }

  /** @param {number} x @param {number} y */
  _put(x, y) {
    const { width, height } = this.place;
    this._at = { x: aroundMiddle(x, width), y: aroundMiddle(y, height) };
  }
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
