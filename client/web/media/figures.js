/** What the page measures about the stream, as numbers; `ui/figures.js` shows them. */

/**
 * @import { Stats, StreamParked, StreamQuality } from "../net/messages.js"
 *
 * @typedef {object} Reading
 * @property {number} fps               frames drawn per second
 * @property {number | null} photonMs   control sent to first frame that shows it, median of recent ones
 * @property {number | null} latencyMs  frame ready on the server to drawn here, median of recent ones
 * @property {number} kbps              video and audio received
 * @property {number | null} leadMs     media made and not shown yet
 * @property {number | null} chunkMs    time to make one chunk
 * @property {number | null} realTime   that time over the media time it makes; below 1 keeps up
 * @property {number} skipped           frames the server left out because this page lagged
 * @property {StreamQuality | null} quality  what the server gives up for now
 * @property {StreamParked | null} parked  how the stream stands while it has no place
 */

const RATE_WINDOW_MS = 2_000;
const RECENT = 25;

/** Amounts of the last two seconds. */
class RateWindow {
  constructor() {
    /** @type {{ms: number, amount: number}[]} */
    this._entries = [];
  }

  /** @param {number} amount @param {number} nowMs */
  add(amount, nowMs) {
    this._entries.push({ ms: nowMs, amount });
    this._trim(nowMs);
  }

  /** @param {number} nowMs @returns {number} per second */
  perSecond(nowMs) {
    this._trim(nowMs);
    const sum = this._entries.reduce((total, entry) => total + entry.amount, 0);
    return (sum * 1000) / RATE_WINDOW_MS;
  }

  /** @param {number} nowMs */
  _trim(nowMs) {
    const first = this._entries.findIndex((entry) => nowMs - entry.ms < RATE_WINDOW_MS);
    this._entries.splice(0, first === -1 ? this._entries.length : first);
  }
}

/** @param {number[]} values */
export function median(values) {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1];
}

export class Figures {
  constructor() {
    this._frames = new RateWindow();
    this._bytes = new RateWindow();
    /** @type {number[]} */
    this._latenciesMs = [];
    /** @type {number[]} */
    this._photonsMs = [];
    /** @type {Stats | null} */
    this._stats = null;
  }

  /** @param {number} nowMs @param {number | null} latencyMs */
  shown(nowMs, latencyMs) {
    this._frames.add(1, nowMs);
    if (latencyMs !== null) keep(this._latenciesMs, latencyMs);
  }

  /** @param {number} bytes @param {number} nowMs */
  received(bytes, nowMs) {
    this._bytes.add(bytes, nowMs);
  }

  /** @param {number} delayMs */
  photon(delayMs) {
    keep(this._photonsMs, delayMs);
  }

  /** @param {Stats} stats */
  stats(stats) {
    this._stats = stats;
  }

  /** Old delays say nothing about a new stream. */
  forget() {
    this._latenciesMs = [];
    this._photonsMs = [];
    this._stats = null;
  }

  /** @param {number} nowMs @returns {Reading} */
  read(nowMs) {
    return {
      fps: this._frames.perSecond(nowMs),
      photonMs: median(this._photonsMs),
      latencyMs: median(this._latenciesMs),
      kbps: (this._bytes.perSecond(nowMs) * 8) / 1000,
      leadMs: this._stats?.lead_ms ?? null,
      chunkMs: this._stats?.chunk_time_ms ?? null,
      realTime: this._stats?.rtf ?? null,
      skipped: this._stats?.skipped_frames ?? 0,
      quality: this._stats?.quality ?? null,
      parked: this._stats?.parked ?? null,
    };
  }
}

/** @param {number[]} values @param {number} value */
function keep(values, value) {
  values.push(value);
  if (values.length > RECENT) values.shift();
}
