/**
 * Sends controls and follows each to the screen: sent, applied to a chunk, seen in a frame.
 *
 * The time from sending to the first drawn frame of that chunk is the control-to-photon delay.
 */

/**
 * @import { Applied, Rejected } from "../net/messages.js"
 * @typedef {{type: string, sentMs: number, chunk: number | null}} Pending
 */

const MAX_PENDING = 128;
/** Controls that let go of every track. */
export const RELEASING = new Set(["scene", "picture", "image"]);

export class Controls {
  /**
   * @param {(message: Record<string, unknown>) => boolean} send  false: there is no live session
   * @param {() => number} nowMs
   */
  constructor(send, nowMs) {
    this._send = send;
    this._nowMs = nowMs;
    /** @type {Map<string, Pending>} by event id, oldest first */
    this._pending = new Map();
    this._count = 0;
  }

  /**
   * @param {string} type
   * @param {Record<string, unknown>} [fields]
   * @returns {string | null} the event id, or null when it could not be sent
   */
  send(type, fields = {}) {
    this._count += 1;
    const eventId = `p${this._count}`;
    if (!this._send({ type, event_id: eventId, ...fields })) return null;
    this._pending.set(eventId, { type, sentMs: this._nowMs(), chunk: null });
    if (this._pending.size > MAX_PENDING) this._pending.delete([...this._pending.keys()][0]);
    return eventId;
  }

  /** @param {Applied} applied @returns {string | null} the type of the control */
  applied(applied) {
    const pending = this._pending.get(applied.event_id);
    if (pending) pending.chunk = applied.chunk;
    return pending?.type ?? null;
  }

  /** @param {Rejected} rejected @returns {string | null} the type of the control */
  rejected(rejected) {
    const type = this._pending.get(rejected.event_id)?.type ?? null;
    this._pending.delete(rejected.event_id);
    return type;
  }

  /**
   * A frame of this chunk is on screen.
   *
   * @param {number} chunk
   * @param {number} nowMs
   * @returns {number[]} the delays, in ms, of the controls that became visible with it
   */
  shown(chunk, nowMs) {
    const delays = [];
    for (const [eventId, pending] of this._pending) {
      if (pending.chunk === null || pending.chunk > chunk) continue;
      this._pending.delete(eventId);
      delays.push(nowMs - pending.sentMs);
    }
    return delays;
  }

  /** A new session: nothing sent before can still be answered. */
  forget() {
    this._pending.clear();
  }
}
