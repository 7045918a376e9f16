/** Speech from a file: decoded and resampled by the browser, sent at the pace it is spoken. */

import { AUDIO_IN_RATE } from "../net/protocol.js";

export const BLOCK_SAMPLES = 1600;
const BLOCK_MS = (BLOCK_SAMPLES / AUDIO_IN_RATE) * 1000;
/** How far ahead of real time to send: enough to ride out jitter, little enough to interrupt. */
const AHEAD_MS = 400;
const MAX_QUEUED_MS = 2_000;
const MAX_FILE_BYTES = 64 * 1024 * 1024;
const MAX_SECONDS = 20 * 60;

/** The file cannot be used; the message is for the user. */
export class AudioFileError extends Error {}

/**
 * @param {Blob} file  any audio that the browser knows
 * @returns {Promise<Int16Array>} mono at 16 kHz
 * @throws {AudioFileError}
 */
export async function readAudioFile(file) {
  if (file.size > MAX_FILE_BYTES) throw new AudioFileError("The file is larger than 64 MB.");
  const context = new OfflineAudioContext(1, 1, AUDIO_IN_RATE);
  const decoded = await context.decodeAudioData(await file.arrayBuffer()).catch(() => {
    throw new AudioFileError("This browser cannot decode the file. Try WAV, MP3 or M4A.");
  });
  if (decoded.length === 0) throw new AudioFileError("There is no sound in the file.");
  if (decoded.duration > MAX_SECONDS) throw new AudioFileError("The file is longer than 20 minutes.");
  return toPcm16(mixDown(decoded));
}

/** @param {AudioBuffer} buffer @returns {Float32Array} */
function mixDown(buffer) {
  const channels = Array.from({ length: buffer.numberOfChannels }, (_, index) => buffer.getChannelData(index));
  if (channels.length === 1) return channels[0];
  return channels[0].map((_, at) => channels.reduce((sum, channel) => sum + channel[at], 0) / channels.length);
}

/** @param {Float32Array} samples  in -1..1; what is outside is clipped */
export function toPcm16(samples) {
  return Int16Array.from(samples, (sample) => Math.round(Math.max(-1, Math.min(1, sample)) * 32767));
}

/**
 * Decides when which block of a recording goes out. It owns no timer: call `due` often.
 */
export class PacedAudio {
  /**
   * @param {Int16Array} samples
   * @param {number} startMs
   */
  constructor(samples, startMs) {
    this._samples = samples;
    this._startMs = startMs;
    this._at = 0;
  }

  get done() {
    return this._at >= this._samples.length;
  }

  /** Share sent, 0..1. */
  get progress() {
    return this._samples.length === 0 ? 1 : this._at / this._samples.length;
  }

  /**
   * The blocks to send now. When the server has much queued it waits, and time does not run on.
   *
   * @param {number} nowMs
   * @param {number} queuedMs  speech that the server has and has not shown
   * @returns {Int16Array[]}
   */
  due(nowMs, queuedMs) {
    const sentMs = (this._at / AUDIO_IN_RATE) * 1000;
    const aheadMs = sentMs - (nowMs - this._startMs);
    if (queuedMs > MAX_QUEUED_MS || aheadMs < -AHEAD_MS) this._startMs = nowMs - sentMs;
    if (queuedMs > MAX_QUEUED_MS) return [];
    const blocks = [];
    for (let ms = sentMs; !this.done && ms < nowMs - this._startMs + AHEAD_MS; ms += BLOCK_MS) {
      blocks.push(this._samples.subarray(this._at, this._at + BLOCK_SAMPLES));
      this._at += BLOCK_SAMPLES;
    }
    return blocks;
  }
}
