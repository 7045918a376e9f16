/** Frames of a playing video as JPEG packets, as many a second and as large as the model takes them. */

import { KIND, packPacket } from "../net/protocol.js";
import { middle } from "./start-image.js";

/**
 * @import { VideoInput } from "../net/messages.js"
 *
 * @typedef {object} FrameLink
 * @property {(buffer: ArrayBuffer, maxBufferedBytes: number) => boolean} sendMedia
 * @property {() => number} nowMs
 */

/** More than a frame or two on the way would be old when they are seen. */
const MAX_BUFFERED_BYTES = 200_000;
const QUALITY = 0.8;

export class FrameSender {
  /** @param {FrameLink} link */
  constructor(link) {
    this._link = link;
    this._canvas = document.createElement("canvas");
    this._context = this._canvas.getContext("2d", { alpha: false });
    this._encoding = false;
    this._seq = 0;
    /** @type {number | undefined} */
    this._timer = undefined;
    this.sent = 0;
    /** Frames that a full socket or a slow encoder kept from leaving. */
    this.lost = 0;
    /** Media time stands still, so that nobody would look. */
    this.held = false;
  }

  /** @param {HTMLVideoElement} video @param {VideoInput} input */
  start(video, { width, height, fps }) {
    this.stop();
    this._canvas.width = width;
    this._canvas.height = height;
    this._timer = window.setInterval(() => void this._send(video), 1000 / fps);
  }

  stop() {
    window.clearInterval(this._timer);
    this._timer = undefined;
  }

  /** A new stream counts its frames from zero. */
  restart() {
    this._seq = 0;
  }

  /** @param {HTMLVideoElement} video */
  async _send(video) {
    if (this.held || video.readyState < 2 || !this._context) return;
    if (this._encoding) {
      this.lost += 1;
      return;
    }
    this._encoding = true;
    const takenMs = this._link.nowMs();
    const payload = await this._encode(this._context, video);
    this._encoding = false;
    if (!payload || this._timer === undefined) return;
    const packet = packPacket({ kind: KIND.videoIn, seq: this._seq, ptsUs: Math.round(takenMs * 1000), payload });
    if (this._link.sendMedia(packet, MAX_BUFFERED_BYTES)) {
      this._seq += 1;
      this.sent += 1;
    } else {
      this.lost += 1;
    }
  }

  /** @param {CanvasRenderingContext2D} context @param {HTMLVideoElement} video */
  async _encode(context, video) {
    const { width, height } = this._canvas;
    const part = middle({ width: video.videoWidth, height: video.videoHeight }, { width, height });
    context.drawImage(video, part.x, part.y, part.width, part.height, 0, 0, width, height);
    const file = await new Promise((/** @type {(file: Blob | null) => void} */ resolve) =>
      this._canvas.toBlob(resolve, "image/jpeg", QUALITY));
    return file && new Uint8Array(await file.arrayBuffer());
  }
}
