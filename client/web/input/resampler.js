/** Sound from one sample rate to another, sample by sample, with a windowed sinc. */

/** Zero crossings of the sinc on each side: the steepness of the filter. */
const LOBES = 12;
/** Share of the band that passes; the rest is the filter's slope. */
const PASS = 0.9;

export class Resampler {
  /**
   * @param {number} fromRate
   * @param {number} toRate
   */
  constructor(fromRate, toRate) {
    this._step = fromRate / toRate;
    this._cutoff = PASS * Math.min(1, toRate / fromRate);
    this._half = Math.ceil(LOBES / this._cutoff);
    this._ring = new Float64Array(2 * this._half + 2);
    this._count = 0;
    this._at = 0;
  }

  /**
   * Take a sample in; hand out those that can be computed now.
   *
   * @param {number} sample
   * @param {(sample: number) => void} emit
   */
  push(sample, emit) {
    this._ring[this._count % this._ring.length] = sample;
    this._count += 1;
    for (; this._at + this._half < this._count; this._at += this._step) emit(this._interpolate());
  }

  _interpolate() {
    const first = Math.max(0, Math.floor(this._at) - this._half + 1);
    let sum = 0;
    for (let index = first; index < this._count && index < this._at + this._half; index += 1) {
      sum += this._ring[index % this._ring.length] * this._kernel(index - this._at);
    }
    return sum;
  }

  /** @param {number} x  distance in samples */
  _kernel(x) {
    const taper = 0.5 + 0.5 * Math.cos((Math.PI * x) / this._half);
    const phase = Math.PI * this._cutoff * x;
    return this._cutoff * taper * (phase === 0 ? 1 : Math.sin(phase) / phase);
  }
}
