/**
 * Plays the stream's sound and reports which media time it has reached: the page's master clock.
 *
 * In:  {type: "push", ptsUs, samples: Float32Array} | {type: "clear"}
 * Out: {ptsUs, at, playing, queuedMs}, `at` on the audio clock, every few blocks.
 */

const PREBUFFER_MS = 60;
const MAX_QUEUED_MS = 3_000;
const REPORT_EVERY_BLOCKS = 3;

class AudioOutProcessor extends AudioWorkletProcessor {
  constructor() {
    super();
    /** @type {{ptsUs: number, samples: Float32Array, at: number}[]} `at`: samples played of it */
    this._segments = [];
    this._playing = false;
    this._blocks = 0;
    this._endUs = 0;
    this.port.onmessage = ({ data }) => {
      if (data.type === "push") this._push(data);
      else this._segments = [];
    };
  }

  /** @param {{ptsUs: number, samples: Float32Array}} segment */
  _push(segment) {
    this._segments.push({ ...segment, at: 0 });
    while (this._queuedMs() > MAX_QUEUED_MS) this._segments.shift();
  }

  _queuedMs() {
    const samples = this._segments.reduce((sum, segment) => sum + segment.samples.length - segment.at, 0);
    return (samples / sampleRate) * 1000;
  }

  /**
   * @param {Float32Array[][]} _inputs
   * @param {Float32Array[][]} outputs
   */
  process(_inputs, outputs) {
    const block = outputs[0][0];
    this._playing ||= this._queuedMs() >= PREBUFFER_MS;
    const startUs = this._segments.length > 0 ? this._positionUs(this._segments[0]) : this._endUs;
    const filled = this._playing ? this._fill(block) : 0;
    if (filled < block.length) this._playing = false;
    for (let channel = 1; channel < outputs[0].length; channel += 1) outputs[0][channel].set(block);
    if (this._blocks % REPORT_EVERY_BLOCKS === 0 && filled > 0) {
      this.port.postMessage({ ptsUs: startUs, at: currentTime, queuedMs: this._queuedMs() });
    }
    this._blocks += 1;
    return true;
  }

  /** @param {{ptsUs: number, at: number}} segment */
  _positionUs(segment) {
    return segment.ptsUs + (segment.at / sampleRate) * 1e6;
  }

  /**
   * @param {Float32Array} block
   * @returns {number} samples written
   */
  _fill(block) {
    let filled = 0;
    while (filled < block.length && this._segments.length > 0) {
      const segment = this._segments[0];
      const count = Math.min(block.length - filled, segment.samples.length - segment.at);
      block.set(segment.samples.subarray(segment.at, segment.at + count), filled);
      segment.at += count;
      filled += count;
      this._endUs = this._positionUs(segment);
      if (segment.at >= segment.samples.length) this._segments.shift();
    }
    return filled;
  }
}

registerProcessor("audio-out", AudioOutProcessor);
