/**
 * The camera's motion from what is held: keys by their place on the keyboard, and buttons.
 *
 * It knows no DOM: keys are named by `KeyboardEvent.code`, so W A S D lie under the same fingers on
 * every layout.
 */

/**
 * @import { CameraInput } from "../net/messages.js"
 * @typedef {[number, number, number]} Vector
 * @typedef {{translation: Vector, rotation: Vector}} Motion  as the `camera` control has it
 */

/** Widths of the picture a second. */
export const MOVE_SPEED = 0.4;
/** Degrees a second. */
export const TURN_SPEED = 30;

/** By code: which number of the motion, and which way. @type {Record<string, ["translation" | "rotation", 0 | 1 | 2, 1 | -1]>} */
const MOVES = {
  KeyW: ["translation", 2, 1], KeyS: ["translation", 2, -1],
  KeyD: ["translation", 0, 1], KeyA: ["translation", 0, -1],
  KeyQ: ["translation", 1, 1], KeyE: ["translation", 1, -1],
  ArrowUp: ["rotation", 0, 1], ArrowDown: ["rotation", 0, -1],
  ArrowRight: ["rotation", 1, 1], ArrowLeft: ["rotation", 1, -1],
};
/** What a camera that goes by keys has not. */
const FREE_ONLY = new Set(["KeyQ", "KeyE"]);

export class CameraKeys {
  /** @param {(motion: Motion) => void} onMotion  called when it changes */
  constructor(onMotion) {
    this._onMotion = onMotion;
    /** @type {Map<string, Set<string>>} by code, who holds it */
    this._held = new Map();
    this._speed = 1;
    /** @type {CameraInput["kind"]} */
    this.kind = "6dof";
    this._told = JSON.stringify(this.motion);
  }

  /** @param {string} code */
  takes(code) {
    return Object.hasOwn(MOVES, code) && !(this.kind === "wasd" && FREE_ONLY.has(code));
  }

  /** @param {string} code */
  holds(code) {
    return this._held.has(code);
  }

  /** @param {string} code @param {string} by  a key and several fingers may hold the same one */
  press(code, by) {
    if (!this.takes(code)) return;
    this._held.set(code, (this._held.get(code) ?? new Set()).add(by));
    this._tell();
  }

  /** @param {string} code @param {string} by */
  release(code, by) {
    const holders = this._held.get(code);
    holders?.delete(by);
    if (holders?.size === 0) this._held.delete(code);
    this._tell();
  }

  releaseAll() {
    this._held.clear();
    this._tell();
  }

  /** How many times the usual speed. */
  get speed() {
    return this._speed;
  }

  set speed(times) {
    this._speed = times;
    this._tell();
  }

  /** @returns {Motion} */
  get motion() {
    /** @type {Motion} */
    const motion = { translation: [0, 0, 0], rotation: [0, 0, 0] };
    for (const code of this._held.keys()) {
      const [part, axis, sign] = MOVES[code];
      motion[part][axis] += sign * (part === "translation" ? MOVE_SPEED : TURN_SPEED) * this._speed;
    }
    return motion;
  }

  /** The server is to hear it whatever it knows, as after a resume. */
  restate() {
    this._told = JSON.stringify(this.motion);
    this._onMotion(this.motion);
  }

  _tell() {
    if (JSON.stringify(this.motion) !== this._told) this.restate();
  }
}
