/** Picture and sound that come as tracks of a WebRTC peer: the browser decodes, paces and keeps them together. */

/**
 * @typedef {object} PeerShown
 * @property {HTMLVideoElement} picture  shows the frame
 * @property {number | null} ptsUs       its media time, once the server has told
 * @property {number} nowMs
 */

const RTP_PER_US = 0.09;
const WRAP = 2 ** 32;

/** Media time of an RTP timestamp. */
export class RtpClock {
  constructor() {
    /** @type {{rtp: number, ptsUs: number} | null} */
    this._told = null;
  }

  /** @param {number} rtp @param {number} ptsUs  as `media.clock` says */
  tell(rtp, ptsUs) {
    this._told = { rtp, ptsUs };
  }

  forget() {
    this._told = null;
  }

  /** @param {number | undefined} rtp @returns {number | null} */
  ptsUs(rtp) {
    if (this._told === null || rtp === undefined) return null;
    const ahead = (((rtp - this._told.rtp) % WRAP) + WRAP) % WRAP;
    const ticks = ahead >= WRAP / 2 ? ahead - WRAP : ahead; // frames before it may still come
    return this._told.ptsUs + ticks / RTP_PER_US;
  }
}

export class PeerMedia {
  /** @param {(shown: PeerShown) => void} onShown */
  constructor(onShown) {
    this._onShown = onShown;
    this.clock = new RtpClock();
    /** @type {HTMLVideoElement | null} */
    this.element = null;
  }

  /** @param {MediaStream | null} stream  null: it is over */
  use(stream) {
    this.clock.forget();
    const before = this.element;
    this.element = null;
    if (before) before.srcObject = null;
    if (stream === null) return;
    const element = document.createElement("video");
    element.muted = true;
    element.playsInline = true;
    element.srcObject = stream;
    this.element = element;
    void element.play().catch(() => {});
    const onFrame = (/** @type {number} */ nowMs, /** @type {VideoFrameCallbackMetadata} */ { rtpTimestamp }) => {
      if (this.element !== element) return;
      this._onShown({ picture: element, ptsUs: this.clock.ptsUs(rtpTimestamp), nowMs });
      element.requestVideoFrameCallback(onFrame);
    };
    element.requestVideoFrameCallback(onFrame);
  }
}
