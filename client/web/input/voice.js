/** The user's speech on its way to the server: from the microphone or a file, one at a time. */

import { packAudioIn } from "../net/protocol.js";
import { PacedAudio } from "./audio-file.js";

/**
 * @typedef {object} VoiceLink
 * @property {(buffer: ArrayBuffer, maxBufferedBytes: number) => boolean} sendMedia
 * @property {() => void} sendEnd    no more audio of this utterance
 * @property {() => number} nowMs
 */

const MAX_BUFFERED_BYTES = 64_000;

export class Voice {
  /** @param {VoiceLink} link */
  constructor(link) {
    this._link = link;
    this._seq = 0;
    /** @type {PacedAudio | null} */
    this._file = null;
    /** Blocks that a full socket kept from leaving. */
    this.lost = 0;
  }

  /** A new session counts its audio from zero. */
  restart() {
    this._seq = 0;
  }

  /** @param {Int16Array} samples  16 kHz, at most a second */
  send(samples) {
    const packet = packAudioIn(this._seq, Math.round(this._link.nowMs() * 1000), samples);
    if (this._link.sendMedia(packet, MAX_BUFFERED_BYTES)) this._seq += 1;
    else this.lost += 1;
  }

  end() {
    this._link.sendEnd();
  }

  /** @param {Int16Array} samples */
  playFile(samples) {
    this._file = new PacedAudio(samples, this._link.nowMs());
  }

  /** Send no more of the file; what was sent is still spoken. */
  stopFile() {
    this._file = null;
  }

  get fileProgress() {
    return this._file?.progress ?? null;
  }

  /**
   * Send what the file has due; call it some times a second.
   *
   * @param {number} queuedMs  speech that waits on the server
   * @returns {boolean} true when the file has just ended
   */
  tick(queuedMs) {
    if (!this._file) return false;
    this._file.due(this._link.nowMs(), queuedMs).forEach((block) => this.send(block));
    if (!this._file.done) return false;
    this._file = null;
    this.end();
    return true;
  }
}
