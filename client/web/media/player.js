/**
 * Packets in, pictures on screen at their time, acknowledgements out.
 *
 * It feeds the decoder just ahead of what is shown, lets `MediaClock` say what is due, hands due
 * pictures to `paint`, and tells the server where the playhead is, which is what bounds the delay.
 */

import { FLAG } from "../net/protocol.js";
import { FrameQueue } from "./frame-queue.js";
import { MediaClock } from "./media-clock.js";

/**
 * @import { Codec, SessionReady, SessionWatching } from "../net/messages.js"
 * @import { Packet } from "../net/protocol.js"
 * @import { Decoder, DecoderEvents, Picture } from "./decoder.js"
 * @import { Frame } from "./frame-queue.js"
 *
 * @typedef {object} PlayerHooks
 * @property {(codec: Codec, codecString: string, events: DecoderEvents) => Decoder} openDecoder
 * @property {(picture: Picture) => void} paint
 * @property {(frame: Frame<Picture>, nowMs: number) => void} onShown
 * @property {(ack: {playhead_us: number, last_seq: number, decode_queue: number, dropped: number}) => void} sendAck
 * @property {() => void} askKey
 * @property {() => void} onGiveUp
 * @property {() => number} nowMs
 */

const DECODE_AHEAD = 6;
const MAX_PACKETS = 100;
const ACK_EVERY_MS = 40;
const ACK_AT_LEAST_MS = 180;
const KEY_ASK_EVERY_MS = 500;
/** Half a 60 Hz refresh: a frame due before the next refresh is shown now. */
const EARLY_US = 8_000;

export class Player {
  /** @param {PlayerHooks} hooks @param {number} [ackEveryMs]  while frames are shown */
  constructor(hooks, ackEveryMs = ACK_EVERY_MS) {
    this._ackEveryMs = ackEveryMs;
    this._hooks = hooks;
    this.clock = new MediaClock();
    /** @type {FrameQueue<Picture>} */
    this._frames = new FrameQueue(DECODE_AHEAD + 2);
    /** @type {(Packet & {receivedMs: number})[]} not decoded yet */
    this._packets = [];
    /** @type {Decoder | null} */
    this._decoder = null;
    this._frameUs = 40_000;
    this._ackedMs = -Infinity;
    this._keyAskedMs = -Infinity;
    this.lastSeq = -1;
    this.lastChunk = -1;
    this.generation = -1;
    this.received = 0;
    this.shown = 0;
    this._overflowed = 0;
    this._waitForKey = false;
    /** Time begins with the first picture: a cold decoder's first moments must not count as lateness. */
    this._started = false;
    this._newestUs = 0;
  }

  get dropped() {
    return this._frames.dropped + this._overflowed;
  }

  /**
   * A session is live. A resumed one goes on where it was; a new one starts from nothing.
   *
   * @param {SessionReady | SessionWatching} ready
   */
  start(ready) {
    const resumed = "resumed" in ready && ready.resumed;
    this._frames.clear();
    this._started = false;
    this._frameUs = 1e6 / ready.fps;
    if (!resumed || this.lastSeq < 0) this.clock.reset();
    if (!resumed) this.lastSeq = -1;
    this.changeCodec(ready.codec, ready.codec_string);
  }

  /**
   * The next packets are of this codec, beginning with a key frame; what was not decoded is left out.
   *
   * @param {Codec} codec
   * @param {string} codecString
   */
  changeCodec(codec, codecString) {
    this._decoder?.close();
    this._packets = [];
    this._waitForKey = false;
    this._decoder = this._hooks.openDecoder(codec, codecString, {
      onPicture: (picture, packet) => this._decoded(picture, packet),
      onNeedKey: () => this._askKey(),
      onGiveUp: () => this._hooks.onGiveUp(),
    });
  }

  /** @param {Packet} packet  a video packet */
  push(packet) {
    const nowMs = this._hooks.nowMs();
    this.received += 1;
    this._newestUs = packet.ptsUs;
    if (this._started) this.clock.extend(packet.ptsUs, this._frameUs, nowMs);
    this._waitForKey &&= (packet.flags & FLAG.key) === 0;
    if (this._waitForKey) {
      this._overflowed += 1;
      this._askKey();
      return;
    }
    this._packets.push({ ...packet, receivedMs: nowMs });
    if (this._packets.length > MAX_PACKETS) this._skipToKey();
    this._feed();
  }

  /** Show what is due; call it at every refresh, and when a picture came out. */
  tick() {
    const nowMs = this._hooks.nowMs();
    const frame = this._frames.takeDue(this.clock.nowUs(nowMs) + EARLY_US);
    if (frame) this._show(frame, nowMs);
    this._feed();
    const sinceAckMs = nowMs - this._ackedMs;
    if (sinceAckMs >= (frame ? this._ackEveryMs - 8 : ACK_AT_LEAST_MS)) this._ack(nowMs);
  }

  /** Frames decoded and waiting for their moment. */
  get depth() {
    return this._frames.depth;
  }

  /**
   * A frame that was decoded and paced elsewhere is on screen; there is nothing to acknowledge.
   *
   * @param {number} ptsUs
   * @param {number} chunkFrames  of a usual chunk
   * @param {number} nowMs
   */
  present(ptsUs, chunkFrames, nowMs) {
    this.clock.extend(ptsUs, this._frameUs, nowMs);
    this.shown += 1;
    this.lastSeq = Math.max(0, Math.round(ptsUs / this._frameUs));
    this.lastChunk = Math.floor(this.lastSeq / chunkFrames);
  }

  /** @param {Frame<Picture>} frame @param {number} nowMs */
  _show(frame, nowMs) {
    this._hooks.paint(frame.picture);
    frame.picture.close();
    this.shown += 1;
    this.lastSeq = frame.seq;
    this.lastChunk = frame.chunk;
    this._hooks.onShown(frame, nowMs);
  }

  /** @param {number} nowMs */
  _ack(nowMs) {
    if (this.received === 0) return;
    this._ackedMs = nowMs;
    this._hooks.sendAck({
      playhead_us: Math.round(this.clock.nowUs(nowMs)),
      last_seq: this.lastSeq,
      decode_queue: this._backlog(nowMs),
      dropped: this.dropped,
    });
  }

  /** Packets whose moment has passed and that the decoder has not turned into pictures. @param {number} nowMs */
  _backlog(nowMs) {
    const playheadUs = this.clock.nowUs(nowMs);
    const overdue = this._packets.filter((packet) => packet.ptsUs < playheadUs).length;
    return overdue + (overdue > 0 ? (this._decoder?.queued() ?? 0) : 0);
  }

  _feed() {
    if (!this._decoder) return;
    while (this._packets.length > 0 && this._decoder.queued() + this._frames.depth < DECODE_AHEAD) {
      const packet = this._packets.shift();
      if (packet) this._decoder.decode(packet);
    }
  }

  /** @param {Picture} picture @param {Packet & {receivedMs?: number}} packet */
  _decoded(picture, { ptsUs, seq, chunk, serverMs, generation, receivedMs }) {
    const nowMs = this._hooks.nowMs();
    if (!this._started) {
      this._started = true;
      this.clock.extend(ptsUs, this._frameUs, nowMs);
      this.clock.extend(this._newestUs, this._frameUs, nowMs);
    }
    this.generation = generation;
    this._frames.push({ ptsUs, seq, chunk, serverMs, picture, receivedMs: receivedMs ?? nowMs });
    if (ptsUs <= this.clock.nowUs(nowMs)) this.tick();
    else this._feed();
  }

  /** The page fell far behind: throw away what would be shown late, back to a key frame. */
  _skipToKey() {
    const key = this._packets.findLastIndex((packet) => (packet.flags & FLAG.key) !== 0);
    const gone = key > 0 ? key : this._packets.length;
    this._packets.splice(0, gone);
    this._overflowed += gone;
    this._waitForKey = key <= 0;
  }

  _askKey() {
    const nowMs = this._hooks.nowMs();
    if (nowMs - this._keyAskedMs < KEY_ASK_EVERY_MS) return;
    this._keyAskedMs = nowMs;
    this._hooks.askKey();
  }
}
