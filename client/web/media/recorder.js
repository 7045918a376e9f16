/** Records what is shown and heard into a file, with the browser's MediaRecorder. */

import { withLength } from "./recording-length.js";

const FORMATS = [
  "video/mp4;codecs=avc1.42E01F,mp4a.40.2", "video/webm;codecs=vp9,opus", "video/webm;codecs=vp8,opus", "video/webm",
];
const SLICE_MS = 1_000;
const VIDEO_BITS_PER_S = 6_000_000;
/** The recording is held in memory until it is saved. */
const MAX_BYTES = 512 * 1024 * 1024;

export class Recorder {
  /** @param {(file: Blob, extension: string) => void} onFile @param {() => number} nowMs */
  constructor(onFile, nowMs) {
    this._onFile = onFile;
    this._nowMs = nowMs;
    /** Recordings that have ended and are not handed on yet. */
    this._ending = 0;
    /** @type {MediaRecorder | null} */
    this._recorder = null;
    this._startedMs = 0;
  }

  get on() {
    return this._recorder !== null;
  }

  /** Whether something would be lost now that was recorded. */
  get unsaved() {
    return this.on || this._ending > 0;
  }

  /** @returns {string | null} the container and codecs to record with; null when there are none */
  static format() {
    if (!("MediaRecorder" in globalThis)) return null;
    return FORMATS.find((format) => MediaRecorder.isTypeSupported(format)) ?? null;
  }

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {number} fps
   * @param {MediaStreamTrack | null} sound
   */
  start(canvas, fps, sound) {
    const mimeType = Recorder.format();
    if (mimeType === null || this._recorder) return;
    const stream = canvas.captureStream(fps);
    if (sound) stream.addTrack(sound);
    const recorder = new MediaRecorder(stream, { mimeType, videoBitsPerSecond: VIDEO_BITS_PER_S });
    const startedMs = this._nowMs();
    /** @type {Blob[]} */
    const parts = [];
    recorder.ondataavailable = ({ data }) => {
      parts.push(data);
      if (parts.reduce((bytes, part) => bytes + part.size, 0) > MAX_BYTES) this.stop();
    };
    recorder.onstop = () => {
      stream.getVideoTracks().forEach((track) => track.stop());
      if (this._recorder === recorder) this._recorder = null; // it ended by itself
      void this._handOn(new Blob(parts, { type: mimeType }), (this._nowMs() - startedMs) / 1000);
    };
    recorder.start(SLICE_MS);
    this._recorder = recorder;
    this._startedMs = startedMs;
  }

  stop() {
    if (this._recorder?.state === "recording") {
      this._ending += 1;
      this._recorder.stop();
    }
    this._recorder = null;
  }

  /** @returns {number} seconds recorded so far */
  lengthS() {
    return this._recorder ? (this._nowMs() - this._startedMs) / 1000 : 0;
  }

  /** @param {Blob} file @param {number} seconds */
  async _handOn(file, seconds) {
    try {
      const extension = file.type.startsWith("video/mp4") ? "mp4" : "webm";
      this._onFile(await withLength(file, seconds), extension);
    } finally {
      this._ending = Math.max(0, this._ending - 1);
    }
  }
}

/**
 * Hand a file to the user.
 *
 * @param {Blob} file
 * @param {string} name
 */
export function download(file, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
