/** Hands on a picture that is being placed: drag, pinch, twist, wheel, arrows, plus, minus, brackets. */

import { Crop } from "./crop.js";

/** @import { Point } from "./crop.js" */

const STEP = 0.01;
const LARGE_STEP = 0.06;
const ZOOM_STEP = 1.06;
const TURN_STEP = Math.PI / 180;
const WHEEL_ZOOM = 0.0015;
/** @type {Record<string, [number, number]>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
/** @type {Record<string, number>} */
const ZOOMS = { "+": ZOOM_STEP, "=": ZOOM_STEP, "-": 1 / ZOOM_STEP, _: 1 / ZOOM_STEP };

/** @type {Record<string, number>} */
const TURNS = { "[": TURN_STEP, "]": -TURN_STEP };

export class CropInput {
  /** @param {HTMLElement} target @param {() => Crop | null} crop @param {() => void} onChange */
  constructor(target, crop, onChange) {
    this._target = target;
    this._crop = crop;
    this._onChange = onChange;
    /** @type {Map<number, Point>} fingers that are down, by pointer */
    this._fingers = new Map();
    target.addEventListener("pointerdown", (event) => this._down(event));
    target.addEventListener("pointermove", (event) => this._move(event));
    for (const end of /** @type {const} */ (["pointerup", "pointercancel"])) {
      target.addEventListener(end, (event) => this._fingers.delete(event.pointerId));
    }
    target.addEventListener("wheel", (event) => this._wheel(event), { passive: false });
    target.addEventListener("keydown", (event) => this._key(event));
  }

  /** @param {PointerEvent} event */
  _down(event) {
    if (event.button !== 0) return;
    this._target.setPointerCapture(event.pointerId);
    this._fingers.set(event.pointerId, this._place(event));
  }

  /** @param {PointerEvent} event */
  _move(event) {
    const crop = this._crop();
    if (!crop || !this._fingers.has(event.pointerId)) return;
    const before = [...this._fingers.values()];
    this._fingers.set(event.pointerId, this._place(event));
    crop.follow(before, [...this._fingers.values()]);
    this._onChange();
  }

  /** @param {WheelEvent} event */
  _wheel(event) {
    const crop = this._crop();
    if (!crop) return;
    event.preventDefault();
    crop.zoomTo(crop.zoom * Math.exp(-event.deltaY * WHEEL_ZOOM), this._place(event));
    this._onChange();
  }

  /** @param {KeyboardEvent} event */
  _key(event) {
    const crop = this._crop();
    if (!crop || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = event.shiftKey ? LARGE_STEP : STEP;
    const arrow = ARROWS[event.key];
    const zoom = ZOOMS[event.key];
    if (arrow) crop.move(arrow[0] * step, arrow[1] * step);
    else if (zoom) crop.zoomTo(crop.zoom * zoom);
    else if (TURNS[event.key]) crop.turnTo(crop.angle + TURNS[event.key]);
    else return;
    event.preventDefault();
    this._onChange();
  }

  /** @param {MouseEvent} event @returns {Point} */
  _place(event) {
    const box = this._target.getBoundingClientRect();
    return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
  }
}
