/**
 * Encoded video packets in, pictures out: WebCodecs for H.264 and VP8, createImageBitmap for JPEG.
 *
 * Both decoders have the shape of `Decoder`. Each keeps what it works on bounded; the player feeds
 * them no faster than pictures are needed.
 */

import { FLAG } from "../net/protocol.js";
import { COLOUR, h264CodecString } from "./codec-support.js";

/**
 * @import { Codec } from "../net/messages.js"
 * @import { Packet } from "../net/protocol.js"
 *
 * @typedef {VideoFrame | ImageBitmap} Picture
 *
 * @typedef {object} DecoderEvents
 * @property {(picture: Picture, packet: Packet) => void} onPicture
 * @property {() => void} onNeedKey   ask the server for a key frame
 * @property {() => void} onGiveUp    this codec does not work here
 *
 * @typedef {object} Decoder
 * @property {(packet: Packet) => void} decode
 * @property {() => number} queued   packets taken in whose picture has not come out
 * @property {() => void} close
 */

const MAX_ERRORS = 2;

/**
 * @param {Codec} codec
 * @param {string} codecString  from session.ready, for codecs that do not carry it
 * @param {DecoderEvents} events
 * @returns {Decoder}
 */
export function openDecoder(codec, codecString, events) {
  return codec === "jpeg" ? new JpegDecoder(events) : new WebCodecsDecoder(codec, codecString, events);
}

class WebCodecsDecoder {
  /**
   * @param {Codec} codec
   * @param {string} codecString
   * @param {DecoderEvents} events
   */
  constructor(codec, codecString, events) {
    this._codec = codec;
    this._codecString = codecString;
    this._events = events;
    /** @type {VideoDecoder | null} */
    this._decoder = null;
    /** @type {Map<number, Packet>} by timestamp, until the picture comes out */
    this._pending = new Map();
    this._generation = -1;
    this._needKey = true;
    this._errors = 0;
  }

  queued() {
    return this._pending.size;
  }

  /** @param {Packet} packet */
  decode(packet) {
    const key = (packet.flags & FLAG.key) !== 0;
    if (this._needKey && !key) {
      this._events.onNeedKey();
      return;
    }
    const timestamp = Math.round(packet.ptsUs);
    try {
      if (key && (this._decoder === null || packet.generation !== this._generation)) this._configure(packet);
      this._pending.set(timestamp, packet);
      this._decoder?.decode(new EncodedVideoChunk({ type: key ? "key" : "delta", timestamp, data: packet.payload }));
      this._needKey = false;
    } catch {
      this._failed(); // a refused packet leaves the decoder without its reference picture
    }
  }

  close() {
    if (this._decoder && this._decoder.state !== "closed") this._decoder.close();
    this._decoder = null;
    this._pending.clear();
  }

  /** @param {Packet} packet */
  _configure(packet) {
    this.close();
    const codec = (this._codec === "h264" ? h264CodecString(packet.payload) : null) ?? this._codecString;
    const decoder = new VideoDecoder({
      output: (frame) => this._output(frame),
      error: () => this._failed(),
    });
    decoder.configure({ codec, optimizeForLatency: true, colorSpace: COLOUR });
    this._decoder = decoder;
    this._generation = packet.generation;
  }

  /** @param {VideoFrame} frame */
  _output(frame) {
    const packet = this._pending.get(frame.timestamp);
    // Pictures come out in order: what is older and still pending will not come.
    for (const timestamp of this._pending.keys()) {
      if (timestamp <= frame.timestamp) this._pending.delete(timestamp);
    }
    if (packet) this._events.onPicture(frame, packet);
    else frame.close();
  }

  _failed() {
    this.close();
    this._needKey = true;
    this._errors += 1;
    if (this._errors >= MAX_ERRORS) this._events.onGiveUp();
    else this._events.onNeedKey();
  }
}

class JpegDecoder {
  /** @param {DecoderEvents} events */
  constructor(events) {
    this._events = events;
    /** @type {Packet[]} */
    this._waiting = [];
    this._busy = false;
    this._closed = false;
    this._errors = 0;
  }

  queued() {
    return this._waiting.length + Number(this._busy);
  }

  /** @param {Packet} packet */
  decode(packet) {
    this._waiting.push(packet);
    if (!this._busy) void this._drain();
  }

  close() {
    this._closed = true;
    this._waiting = [];
  }

  async _drain() {
    this._busy = true;
    for (let packet = this._waiting.shift(); packet; packet = this._waiting.shift()) await this._decodeOne(packet);
    this._busy = false;
  }

  /** @param {Packet} packet */
  async _decodeOne(packet) {
    try {
      const picture = await createImageBitmap(new Blob([packet.payload], { type: "image/jpeg" }));
      if (this._closed) picture.close();
      else this._events.onPicture(picture, packet);
    } catch {
      this._errors += 1; // one broken picture is skipped, a run of them means that JPEG fails here
      if (this._errors === MAX_ERRORS && !this._closed) this._events.onGiveUp();
    }
  }
}
