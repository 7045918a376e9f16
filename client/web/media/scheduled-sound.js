/** Sound without AudioWorklet: each packet is a buffer source started where the last one ends. */

/** @import { Reached } from "./audio-out.js" */

const PREBUFFER_S = 0.08;

export class ScheduledSound {
  /**
   * @param {BaseAudioContext} context
   * @param {AudioNode} target
   */
  constructor(context, target) {
    this._context = context;
    this._target = target;
    /** @type {Set<AudioBufferSourceNode>} */
    this._sources = new Set();
    this._nextAt = 0;
    /** @type {(reached: Reached) => void} */
    this._onReached = () => {};
  }

  /** @param {(reached: Reached) => void} onReached */
  report(onReached) {
    this._onReached = onReached;
  }

  /**
   * @param {number} ptsUs
   * @param {Float32Array<ArrayBuffer>} samples
   */
  push(ptsUs, samples) {
    const { currentTime, sampleRate } = this._context;
    if (this._nextAt < currentTime) this._nextAt = currentTime + PREBUFFER_S;
    const buffer = this._context.createBuffer(1, samples.length, sampleRate);
    buffer.copyToChannel(samples, 0);
    const source = new AudioBufferSourceNode(this._context, { buffer });
    source.connect(this._target);
    source.onended = () => this._sources.delete(source);
    source.start(this._nextAt);
    this._sources.add(source);
    this._onReached({ ptsUs, at: this._nextAt });
    this._nextAt += buffer.duration;
  }

  clear() {
    this._sources.forEach((source) => {
      source.onended = null;
      source.stop();
    });
    this._sources.clear();
    this._nextAt = 0;
  }
}
