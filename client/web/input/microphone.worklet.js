/**
 * Cuts the microphone into 20 ms of 16 kHz PCM16 and measures its level.
 *
 * Out: {samples: Int16Array(320), level: rms in 0..1}. Where the browser refuses a 16 kHz context
 * for the device, the samples are resampled here.
 */

import { Resampler } from "./resampler.js";

const OUT_RATE = 16_000;
const OUT_SAMPLES = 320;

class MicrophoneProcessor extends AudioWorkletProcessor {
  constructor() {
    super();
    this._resampler = sampleRate === OUT_RATE ? null : new Resampler(sampleRate, OUT_RATE);
    this._block = new Int16Array(OUT_SAMPLES);
    this._filled = 0;
    this._power = 0;
  }

  /** @param {Float32Array[][]} inputs */
  process(inputs) {
    for (const sample of inputs[0]?.[0] ?? []) {
      if (this._resampler) this._resampler.push(sample, (resampled) => this._put(resampled));
      else this._put(sample);
    }
    return true;
  }

  /** @param {number} sample  at 16 kHz */
  _put(sample) {
    const clipped = Math.max(-1, Math.min(1, sample));
    this._block[this._filled] = Math.round(clipped * 32767);
    this._power += clipped * clipped;
    this._filled += 1;
    if (this._filled === OUT_SAMPLES) this._send();
  }

  _send() {
    const samples = this._block.slice();
    this.port.postMessage({ samples, level: Math.sqrt(this._power / OUT_SAMPLES) }, [samples.buffer]);
    this._filled = 0;
    this._power = 0;
  }
}

registerProcessor("microphone", MicrophoneProcessor);
