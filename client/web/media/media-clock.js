/**
 * Which media time is on screen now.
 *
 * Frames come in bursts of one chunk; the clock spreads them out at their own rate. It stops at the
 * end of what has arrived and goes on from there, so a late chunk shows as a short hold and never as
 * a jump. While sound plays, the sound card is the clock (`follow`).
 */

/** Head start of the first frames, so that a little jitter does not show. */
const START_DELAY_MS = 30;
/** A hold shorter than this is not noticed. */
const STALL_MS = 30;

export class MediaClock {
  constructor() {
    this._running = false;
    this._paused = false;
    this._anchorUs = 0;
    this._anchorMs = 0;
    this._limitUs = 0;
    this._lastUs = 0;
    this._holding = false;
    /** How often the picture had to wait for the network or the model. */
    this.stalls = 0;
  }

  /** Forget the stream; the next `extend` starts anew. */
  reset() {
    this._running = false;
    this._limitUs = 0;
    this._lastUs = 0;
    this._holding = false;
  }

  /**
   * A frame that can be shown from `ptsUs` on, for `durationUs`, has arrived.
   *
   * @param {number} ptsUs
   * @param {number} durationUs
   * @param {number} nowMs
   */
  extend(ptsUs, durationUs, nowMs) {
    if (!this._running) {
      this._running = true;
      this._lastUs = ptsUs;
      this._anchor(ptsUs, nowMs + START_DELAY_MS);
    } else if (this._holding || this.nowUs(nowMs) >= this._limitUs) {
      this._goOn(ptsUs, nowMs);
    }
    this._limitUs = Math.max(this._limitUs, ptsUs + durationUs);
  }

  /**
   * @param {number} nowMs
   * @returns {number} media time in microseconds; it never goes back
   */
  nowUs(nowMs) {
    if (!this._running) return this._lastUs;
    if (!this._paused) {
      const freeUs = this._anchorUs + Math.max(0, nowMs - this._anchorMs) * 1000;
      this._holding = freeUs >= this._limitUs;
      this._lastUs = Math.max(this._lastUs, Math.min(freeUs, this._limitUs));
    }
    return this._lastUs;
  }

  /**
   * Take the time from the sound card instead of the page clock.
   *
   * @param {number} audioUs
   * @param {number} nowMs
   */
  follow(audioUs, nowMs) {
    if (this._running && !this._paused) this._anchor(audioUs, nowMs);
  }

  /** Media time that has arrived and is not shown yet, in ms. @param {number} nowMs */
  aheadMs(nowMs) {
    return this._running ? (this._limitUs - this.nowUs(nowMs)) / 1000 : 0;
  }

  /** @param {boolean} paused @param {number} nowMs */
  setPaused(paused, nowMs) {
    const positionUs = this.nowUs(nowMs);
    if (this._paused && !paused) this._anchor(positionUs, nowMs);
    this._paused = paused;
  }

  /** @param {number} ptsUs @param {number} nowMs */
  _goOn(ptsUs, nowMs) {
    const lateMs = nowMs - this._anchorMs - (this._limitUs - this._anchorUs) / 1000;
    if (lateMs > STALL_MS && !this._paused) this.stalls += 1;
    this._holding = false;
    this._anchor(Math.max(ptsUs, this._lastUs), nowMs);
  }

  /** @param {number} mediaUs @param {number} atMs */
  _anchor(mediaUs, atMs) {
    this._anchorUs = mediaUs;
    this._anchorMs = atMs;
  }
}
