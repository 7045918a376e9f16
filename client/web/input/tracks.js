/**
 * Points that hold things in the picture: fingers, mouse, keyboard cursor, and anchors.
 *
 * It turns pointer movement into the protocol's track points and keeps what the overlay draws. It
 * knows no DOM and no clock; times come in, in milliseconds.
 */

import { MAX_LIVE_TRACKS, MAX_POINTS_PER_MESSAGE } from "../net/protocol.js";

/**
 * @import { TrackPoint } from "../net/messages.js"
 *
 * @typedef {{x: number, y: number, ms: number}} TrailPoint
 * @typedef {{id: number, x: number, y: number, trail: TrailPoint[], releasedMs: number | null}} Held
 * @typedef {{id: number, x: number, y: number}} Anchor
 */

const TRAIL_POINTS = 64;
const TRAIL_MS = 900;
const MAX_ID = 65_535;
/** Two places closer than this share of the picture are the same anchor. */
const SAME_PLACE = 0.04;

export class Tracks {
  constructor() {
    /** How many tracks may be held at a time; the model says. */
    this.limit = MAX_LIVE_TRACKS;
    /** @type {Map<number | string, Held>} by pointer */
    this._held = new Map();
    /** @type {Held[]} released, still fading */
    this._fading = [];
    /** @type {Map<number, Anchor>} */
    this._anchors = new Map();
    /** @type {TrackPoint[]} not sent yet */
    this._outbox = [];
    this._nextId = 1;
  }

  /** Tracks that the server holds for us. */
  get live() {
    return this._held.size + this._anchors.size;
  }

  get anchors() {
    return [...this._anchors.values()];
  }

  get held() {
    return [...this._held.values()];
  }

  /**
   * @param {number | string} pointer
   * @param {number} x  0..1 of the picture, like `y`
   * @param {number} y
   * @param {number} nowMs
   * @returns {boolean} false when as many tracks are live as the server allows
   */
  press(pointer, x, y, nowMs) {
    if (this.live >= this.limit || this._held.has(pointer)) return false;
    const place = { x: unit(x), y: unit(y) };
    const held = { id: this._newId(), ...place, trail: [{ ...place, ms: nowMs }], releasedMs: null };
    this._held.set(pointer, held);
    this._outbox.push({ id: held.id, phase: "down", ...place });
    return true;
  }

  /** @param {number | string} pointer @param {number} x @param {number} y @param {number} nowMs */
  move(pointer, x, y, nowMs) {
    const held = this._held.get(pointer);
    if (!held) return;
    const place = { x: unit(x), y: unit(y) };
    if (place.x === held.x && place.y === held.y) return;
    Object.assign(held, place);
    held.trail.push({ ...place, ms: nowMs });
    if (held.trail.length > TRAIL_POINTS) held.trail.shift();
    this._outbox.push({ id: held.id, phase: "move", ...place });
    if (this._outbox.length > MAX_POINTS_PER_MESSAGE) this._outbox = thin(this._outbox);
  }

  /** @param {number | string} pointer @param {number} nowMs */
  release(pointer, nowMs) {
    const held = this._held.get(pointer);
    if (!held) return;
    this._held.delete(pointer);
    this._fading.push({ ...held, releasedMs: nowMs });
    this._outbox.push({ id: held.id, phase: "up", x: held.x, y: held.y });
  }

  /**
   * Pin what is under the point, or take away the anchor that is there.
   *
   * @param {number} x
   * @param {number} y
   * @returns {number | null} the id of an anchor to clear; null when one was set or none is free
   */
  toggleAnchor(x, y) {
    const near = this.anchors.find((anchor) => Math.hypot(anchor.x - x, anchor.y - y) < SAME_PLACE);
    if (near) {
      this._anchors.delete(near.id);
      return near.id;
    }
    if (this.live < this.limit) {
      const anchor = { id: this._newId(), x: unit(x), y: unit(y) };
      this._anchors.set(anchor.id, anchor);
      this._outbox.push({ phase: "anchor", ...anchor });
    }
    return null;
  }

  /** Let go of everything; the caller tells the server with `tracks.clear`. @param {number} nowMs */
  clear(nowMs) {
    this._fading.push(...this.held.map((held) => ({ ...held, releasedMs: nowMs })));
    this._held.clear();
    this._anchors.clear();
    this._outbox = [];
  }

  /** After a resumed connection: what the server must be told to hold what is held here. */
  restate() {
    this._outbox = [
      ...this.anchors.map((anchor) => /** @type {TrackPoint} */ ({ phase: "anchor", ...anchor })),
      ...this.held.map(({ id, x, y }) => /** @type {TrackPoint} */ ({ id, phase: "down", x, y })),
    ];
  }

  /** @returns {TrackPoint[]} the next message's points, in order; empty when there is nothing to say */
  take() {
    return this._outbox.splice(0, MAX_POINTS_PER_MESSAGE);
  }

  /**
   * What to draw: lines with the age of each point, newest last.
   *
   * @param {number} nowMs
   * @returns {Held[]}
   */
  trails(nowMs) {
    this._fading = this._fading.filter((held) => nowMs - (held.releasedMs ?? nowMs) < TRAIL_MS);
    return [...this._fading, ...this.held].map((held) => ({
      ...held, trail: held.trail.filter((point) => nowMs - point.ms < TRAIL_MS),
    }));
  }

  /** Share of its strength that a released trail still has. @param {Held} held @param {number} nowMs */
  static strength(held, nowMs) {
    return held.releasedMs === null ? 1 : Math.max(0, 1 - (nowMs - held.releasedMs) / TRAIL_MS);
  }

  _newId() {
    const id = this._nextId;
    this._nextId = id === MAX_ID ? 1 : id + 1;
    return id;
  }
}

/**
 * Leave out moves that another move of the same track follows at once: the last place counts.
 *
 * @param {TrackPoint[]} points
 */
function thin(points) {
  return points.filter((point, index) => {
    const next = points.slice(index + 1).find((later) => later.id === point.id);
    return point.phase !== "move" || next?.phase !== "move";
  });
}

/** @param {number} value  @returns {number} within 0..1 */
function unit(value) {
  return Math.max(0, Math.min(1, value));
}
