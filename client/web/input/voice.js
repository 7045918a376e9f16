/** The user's speech on its way to the server: from the microphone or a file, one at a time. */

import { KIND, packAudioIn, packPacket } from "../net/protocol.js";
import { PacedAudio } from "./audio-file.js";

/**
 * @import { VoiceEncoder } from "./voice-encoder.js"
 *
 * @typedef {object} VoiceLink
 * @property {(buffer: ArrayBuffer, maxBufferedBytes: number) => boolean} sendMedia
 * @property {() => void} sendEnd    no more audio of this utterance
 * @property {() => number} nowMs
 * @property {(onPacket: (payload: Uint8Array<ArrayBuffer>) => void) => VoiceEncoder} openEncoder  for streams whose
 *   voice is Opus
 */

const MAX_BUFFERED_BYTES = 64_000;

export class Voice {
  /** @param {VoiceLink} link */
  constructor(link) {
    this._link = link;
    this._seq = 0;
    /** @type {PacedAudio | null} */
    this._file = null;
    /** @type {VoiceEncoder | null} null: samples go as they are */
    this._encoder = null;
    /** Blocks that a full socket kept from leaving. */
    this.lost = 0;
  }

  /** A new session counts its audio from zero. */
  restart() {
    this._seq = 0;
  }

  /** @param {"pcm" | "opus"} codec  as the stream was opened */
  setCodec(codec) {
    if ((codec === "opus") === (this._encoder !== null)) return;
    this._encoder = codec === "opus" ? this._link.openEncoder((payload) => this._sendPacket(payload)) : null;
  }

  /** @param {Int16Array} samples  16 kHz, at most a second */
  send(samples) {
    if (this._encoder) this._encoder.encode(samples);
    else this._pass(packAudioIn(this._seq, this._nowUs(), samples));
  }

  /** The utterance is complete, once all of it is sent. */
  end() {
    if (this._encoder) void this._encoder.flush().then(() => this._link.sendEnd());
    else this._link.sendEnd();
  }

  /** @param {Uint8Array<ArrayBuffer>} payload  an Opus packet */
  _sendPacket(payload) {
    this._pass(packPacket({ kind: KIND.audioIn, seq: this._seq, ptsUs: this._nowUs(), payload }));
  }

  /** @param {ArrayBuffer} packet */
  _pass(packet) {
    if (this._link.sendMedia(packet, MAX_BUFFERED_BYTES)) this._seq += 1;
    else this.lost += 1;
  }

  _nowUs() {
    return Math.round(this._link.nowMs() * 1000);
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
