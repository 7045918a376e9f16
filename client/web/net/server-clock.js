/** The server's clock as seen from the page, from the ping with the shortest round trip. */

const WINDOW = 16;

export class ServerClock {
  constructor() {
    /** @type {{rttMs: number, offsetMs: number}[]} */
    this._samples = [];
  }

  /**
   * @param {number} sentMs      page clock when the ping left
   * @param {number} receivedMs  page clock when the pong came
   * @param {number} serverMs    server clock in the pong
   */
  addPong(sentMs, receivedMs, serverMs) {
    const rttMs = receivedMs - sentMs;
    if (!(rttMs >= 0) || !Number.isFinite(serverMs)) return;
    this._samples.push({ rttMs, offsetMs: serverMs - (sentMs + receivedMs) / 2 });
    if (this._samples.length > WINDOW) this._samples.shift();
  }

  /** Forget everything: another server process has another clock. */
  reset() {
    this._samples = [];
  }

  /** @returns {{rttMs: number, offsetMs: number} | null} the most trustworthy sample */
  best() {
    if (this._samples.length === 0) return null;
    return this._samples.reduce((best, sample) => (sample.rttMs < best.rttMs ? sample : best));
  }

  /**
   * Age of something that the server stamped, in ms; null before the first pong.
   *
   * @param {number} serverMs
   * @param {number} nowMs
   */
  ageMs(serverMs, nowMs) {
    const best = this.best();
    return best === null ? null : nowMs + best.offsetMs - serverMs;
  }
}
