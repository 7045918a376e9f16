/**
 * Decoded pictures that wait for their moment, in order of media time.
 *
 * @template F
 * @typedef {{ptsUs: number, seq: number, chunk: number, serverMs: number, receivedMs: number, picture: F}} Frame
 */

/**
 * @template {{close(): void}} F
 */
export class FrameQueue {
  /** @param {number} limit  most frames held; decoders have few buffers to lend */
  constructor(limit) {
    this._limit = limit;
    /** @type {Frame<F>[]} */
    this._frames = [];
    /** Frames that were decoded and never shown. */
    this.dropped = 0;
  }

  get depth() {
    return this._frames.length;
  }

  /** @param {Frame<F>} frame */
  push(frame) {
    if (this._frames.length >= this._limit) this._drop(1);
    this._frames.push(frame);
  }

  /**
   * The newest frame whose time has come; older ones are closed and counted as dropped.
   *
   * @param {number} mediaUs
   * @returns {Frame<F> | null}
   */
  takeDue(mediaUs) {
    let due = 0;
    while (due < this._frames.length && this._frames[due].ptsUs <= mediaUs) due += 1;
    if (due === 0) return null;
    this._drop(due - 1);
    return this._frames.shift() ?? null;
  }

  /** Close everything, for a new stream or a new decoder; this does not count as dropped. */
  clear() {
    this._frames.forEach((frame) => frame.picture.close());
    this._frames = [];
  }

  /** @param {number} count */
  _drop(count) {
    this._frames.splice(0, count).forEach((frame) => frame.picture.close());
    this.dropped += count;
  }
}
