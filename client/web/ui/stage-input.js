/** Fingers, mouse and keys on the picture become tracks. */

import { byId, setPressed, setText } from "./dom.js";

/**
 * @import { Tracks } from "../input/tracks.js"
 * @import { Cursor } from "./overlay.js"
 *
 * @typedef {object} StageActions
 * @property {(ids: number[] | null) => void} onClear  these tracks, or all, are let go
 * @property {() => void} onFull              as many points are held as the server allows
 * @property {() => number} nowMs
 */

const LONG_PRESS_MS = 550;
/** A press that strays less than this share of the picture has not moved. */
const STILL = 0.02;
const STEP = 0.02;
const LARGE_STEP = 0.1;
const KEYBOARD = "keyboard";

/** @type {Record<string, [number, number]>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class StageInput {
  /**
   * @param {Tracks} tracks
   * @param {StageActions} actions
   */
  constructor(tracks, actions) {
    this._tracks = tracks;
    this._actions = actions;
    this._stage = byId("stage", HTMLElement);
    this._say = byId("stage-say", HTMLElement);
    this._anchorButton = byId("anchor", HTMLButtonElement);
    /** @type {Map<number, {x: number, y: number, timer: number}>} presses that may become long */
    this._presses = new Map();
    /** @type {Cursor} */
    this._cursor = { x: 0.5, y: 0.5, held: false };
    this._cursorShown = false;
    this.anchorMode = false;
    this.enabled = true;
    this._listen();
  }

  /** The keyboard's cursor, when it is in use. */
  get cursor() {
    return this._cursorShown ? this._cursor : null;
  }

  toggleAnchorMode() {
    this.anchorMode = !this.anchorMode;
    setPressed(this._anchorButton, this.anchorMode);
    this._stage.classList.toggle("anchoring", this.anchorMode);
    setText(this._say, this.anchorMode ? "Anchor mode on" : "Anchor mode off");
  }

  clear() {
    this._tracks.clear(this._actions.nowMs());
    this._cursor.held = false;
    this._actions.onClear(null);
    setText(this._say, "All points let go");
  }

  _listen() {
    const stage = this._stage;
    stage.addEventListener("pointerdown", (event) => this._down(event));
    stage.addEventListener("pointermove", (event) => this._move(event));
    for (const type of /** @type {const} */ (["pointerup", "pointercancel", "lostpointercapture"])) {
      stage.addEventListener(type, (event) => this._up(event));
    }
    stage.addEventListener("dblclick", (event) => {
      if (this._onPicture(event) && !this.anchorMode) this._pin(this._place(event));
    });
    stage.addEventListener("contextmenu", (event) => event.preventDefault());
    stage.addEventListener("keydown", (event) => this._key(event));
    stage.addEventListener("blur", () => this._leave());
    this._anchorButton.addEventListener("click", () => this.toggleAnchorMode());
    byId("clear", HTMLButtonElement).addEventListener("click", () => this.clear());
  }

  /** @param {{clientX: number, clientY: number}} event */
  _place(event) {
    const box = this._stage.getBoundingClientRect();
    return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
  }

  /** The curtain has buttons of its own. @param {Event} event */
  _onPicture(event) {
    return this.enabled && !(event.target instanceof Element && event.target.closest(".curtain"));
  }

  /** @param {PointerEvent} event */
  _down(event) {
    if (event.button !== 0 || !this._onPicture(event)) return;
    this._cursorShown = false;
    const place = this._place(event);
    if (this.anchorMode) {
      this._pin(place);
      return;
    }
    if (!this._tracks.press(event.pointerId, place.x, place.y, this._actions.nowMs())) {
      this._actions.onFull();
      return;
    }
    this._stage.setPointerCapture(event.pointerId);
    const timer = window.setTimeout(() => this._longPress(event.pointerId), LONG_PRESS_MS);
    if (event.pointerType !== "mouse") this._presses.set(event.pointerId, { ...place, timer });
    else window.clearTimeout(timer);
  }

  /** @param {PointerEvent} event */
  _move(event) {
    const coalesced = event.getCoalescedEvents?.() ?? [];
    for (const moment of coalesced.length > 0 ? coalesced : [event]) {
      const { x, y } = this._place(moment);
      this._tracks.move(event.pointerId, x, y, this._actions.nowMs());
      const press = this._presses.get(event.pointerId);
      if (press && Math.hypot(press.x - x, press.y - y) > STILL) this._endPress(event.pointerId);
    }
  }

  /** @param {PointerEvent} event */
  _up(event) {
    this._endPress(event.pointerId);
    this._tracks.release(event.pointerId, this._actions.nowMs());
  }

  /** @param {number} pointer */
  _longPress(pointer) {
    const press = this._presses.get(pointer);
    if (!press) return;
    this._presses.delete(pointer);
    this._tracks.release(pointer, this._actions.nowMs());
    this._pin(press);
    navigator.vibrate?.(15);
  }

  /** @param {number} pointer */
  _endPress(pointer) {
    window.clearTimeout(this._presses.get(pointer)?.timer);
    this._presses.delete(pointer);
  }

  /** @param {{x: number, y: number}} place */
  _pin({ x, y }) {
    const before = this._tracks.live;
    const gone = this._tracks.toggleAnchor(x, y);
    if (gone !== null) this._actions.onClear([gone]);
    else if (this._tracks.live === before) this._actions.onFull();
    setText(this._say, gone === null ? "Anchor set" : "Anchor taken away");
  }

  /** @param {KeyboardEvent} event */
  _key(event) {
    if (event.target !== this._stage || event.ctrlKey || event.metaKey || event.altKey || !this.enabled) return;
    const arrow = ARROWS[event.key];
    if (arrow) this._step(arrow, event.shiftKey ? LARGE_STEP : STEP);
    else if (event.key === "Enter") this._grasp();
    else return;
    event.preventDefault();
    this._cursorShown = true;
  }

  /** @param {[number, number]} direction @param {number} step */
  _step([dx, dy], step) {
    this._cursor.x = Math.max(0, Math.min(1, this._cursor.x + dx * step));
    this._cursor.y = Math.max(0, Math.min(1, this._cursor.y + dy * step));
    this._tracks.move(KEYBOARD, this._cursor.x, this._cursor.y, this._actions.nowMs());
  }

  _grasp() {
    const { x, y, held } = this._cursor;
    if (this.anchorMode) {
      this._pin({ x, y });
    } else if (held) {
      this._tracks.release(KEYBOARD, this._actions.nowMs());
      this._cursor.held = false;
      setText(this._say, "Let go");
    } else if (this._tracks.press(KEYBOARD, x, y, this._actions.nowMs())) {
      this._cursor.held = true;
      setText(this._say, "Holding");
    } else {
      this._actions.onFull();
    }
  }

  _leave() {
    if (this._cursor.held) this._grasp();
    this._cursorShown = false;
  }
}
