/** Sound packets of one stream to samples: PCM at once, Opus by way of the browser's decoder. */

import { audioSamples } from "../net/protocol.js";
import { HEARD_CONFIG, OPUS_RATE } from "./sound-choice.js";

/**
 * @import { AudioCodec } from "../net/messages.js"
 * @import { Packet } from "../net/protocol.js"
 *
 * @typedef {{ptsUs: number, samples: Float32Array<ArrayBuffer>}} Piece  samples in -1..1, from a moment of media time on
 */

const MAX_WAITING = 100;

export class SoundDecoder {
  /**
   * @param {AudioCodec} codec
   * @param {number} sampleRate  of PCM
   * @param {(piece: Piece) => void} onPiece
   */
  constructor(codec, sampleRate, onPiece) {
    this._onPiece = onPiece;
    this._opus = codec === "opus";
    /** Of the pieces. */
    this.sampleRate = this._opus ? OPUS_RATE : sampleRate;
    /** @type {AudioDecoder | null} */
    this._decoder = null;
    this.failures = 0;
  }

  /** @param {Packet} packet */
  push(packet) {
    if (!this._opus) {
      this._onPiece({ ptsUs: packet.ptsUs, samples: Float32Array.from(audioSamples(packet), (each) => each / 32768) });
      return;
    }
    this._decoder ??= this._open();
    if (this._decoder.decodeQueueSize > MAX_WAITING) return;
    this._decoder.decode(new EncodedAudioChunk({
      type: "key", timestamp: Math.round(packet.ptsUs), data: packet.payload,
    }));
  }

  close() {
    if (this._decoder?.state === "configured") this._decoder.close();
    this._decoder = null;
  }

  _open() {
    const decoder = new AudioDecoder({
      output: (data) => this._decoded(data),
      error: () => { // it is closed by that; the next packet begins anew
        this._decoder = null;
        this.failures += 1;
      },
    });
    decoder.configure(HEARD_CONFIG);
    return decoder;
  }

  /** What lies before the stream's begin is the codec's own. @param {AudioData} data */
  _decoded(data) {
    const samples = new Float32Array(data.numberOfFrames);
    data.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
    const early = Math.min(samples.length, Math.max(0, Math.ceil((-data.timestamp * data.sampleRate) / 1e6)));
    const ptsUs = data.timestamp + (early * 1e6) / data.sampleRate;
    data.close();
    if (early < samples.length) this._onPiece({ ptsUs, samples: samples.slice(early) });
  }
}
