/**
 * A stream for programs of one's own: opened by `connect`, steered by controls that are answered, read packet by packet.
 *
 * The page does the same by parts. Nothing here needs a browser but a WebSocket.
 */

import { Connection } from "./connection.js";
import { audioSamples, KIND, packAudioIn } from "./protocol.js";
import { streamUrl } from "./page-address.js";
import { SessionStore } from "./storage.js";
import { StreamError } from "./stream-error.js";

/**
 * @import { Applied, ClientMessage, Codec, ServerHello, ServerMessage, SessionReady } from "./messages.js"
 * @import { ConnectionState } from "./connection-state.js"
 * @import { SessionWish } from "./connection.js"
 * @import { SocketLike } from "./stream-socket.js"
 * @import { Packet } from "./protocol.js"
 *
 * @typedef {"prompt" | "scene" | "picture" | "image" | "camera" | "tracks" | "tracks.clear" | "audio.begin" | "audio.end"
 *   | "audio.clear" | "pause" | "resume" | "reset" | "seed" | "video"} ControlType  what is answered by `applied`
 *
 * @typedef {object} Options
 * @property {string} [token]       what the server lets in, where it asks for one
 * @property {SessionWish} [wish]   what the stream begins with: model, scene, prompt, seed, audio_rate and so on
 * @property {Codec[]} [codecs]     that can be used here, best first; without it `["h264", "vp8", "jpeg"]`
 * @property {(url: string) => SocketLike} [openSocket]  where there is no global WebSocket
 * @property {(message: ServerMessage) => void} [onMessage]  all that is said beside the answers
 * @property {(state: ConnectionState) => void} [onState]
 * @property {AbortSignal} [signal]  gives up the stream
 */

const CLIENT = "rollcast-js/1";
const ENDED = "ended";
/** A second of 48 kHz waits in a socket at most. */
const MAX_WAITING_BYTES = 96_000;

/**
 * Open a stream. It waits in the line where all places are taken, and comes back by itself when its socket is lost.
 *
 * @param {string} url  of the server's page, as it prints it
 * @param {Options} [options]
 * @returns {Promise<Stream>} once it is open
 * @throws {StreamError} when only the user can help
 */
export async function connect(url, options = {}) {
  const stream = new Stream(url, options);
  await stream.opened;
  return stream;
}

export class Stream {
  /** Use `connect`. @param {string} url @param {Options} options */
  constructor(url, options) {
    const { openSocket = (address) => new WebSocket(address), signal } = options;
    this._options = options;
    /** @type {Packet[]} */
    this._packets = [];
    /** @type {(() => void) | null} wakes the reader */
    this._wake = null;
    /** @type {Map<string, {resolve: (applied: Applied) => void, reject: (error: Error) => void}>} */
    this._pending = new Map();
    this._count = 0;
    this._audioSeq = 0;
    this._clearing = 0;
    this._mutedUntilUs = 0;
    /** @type {StreamError | null} */
    this._end = null;
    /** @type {ServerHello | null} */
    this.hello = null;
    /** @type {SessionReady | null} */
    this._ready = null;
    /** @type {Promise<void>} */
    this.opened = new Promise((resolve, reject) => {
      this._open = resolve;
      this._fail = reject;
    });
    const address = streamUrl(url);
    this._store = new SessionStore(noStorage);
    const env = {
      openSocket: () => openSocket(address),
      setTimer: (/** @type {() => void} */ call, /** @type {number} */ ms) => /** @type {any} */ (setTimeout(call, ms)),
      clearTimer: (/** @type {number} */ timer) => clearTimeout(timer),
      nowMs: () => performance.now(),
      random: Math.random,
      store: this._store,
      clientName: CLIENT,
      findObstacle: async () => null,
    };
    this._connection = new Connection(env, {
      onState: (state) => this._changed(state),
      onHello: (hello) => {
        this.hello = hello;
      },
      onReady: (ready) => {
        this._ready = /** @type {SessionReady} */ (ready);
        if (!this._ready.resumed) this._audioSeq = this._mutedUntilUs = 0;
        this._open?.();
      },
      onMessage: (message) => this._take(message),
      onPacket: (packet) => {
        this._packets.push(packet);
        this._wake?.();
      },
    }, { codecs: options.codecs ?? ["h264", "vp8", "jpeg"], token: options.token ?? null, wish: options.wish ?? {}, insists: true });
    signal?.addEventListener("abort", () => this.close());
    if (signal?.aborted) this.close();
    else this._connection.open();
  }

  /** What the server opened. @returns {SessionReady} */
  get ready() {
    if (this._ready === null) throw new StreamError("disconnected", "the stream is not open yet");
    return this._ready;
  }

  /** How its connection is. */
  get state() {
    return this._connection.state;
  }

  /**
   * Send a control, and wait until it is applied.
   *
   * @template {ControlType} T
   * @param {T} type
   * @param {Omit<Extract<ClientMessage, {type: T}>, "type" | "event_id">} fields
   * @returns {Promise<Applied>}
   */
  control(type, fields) {
    if (this._end) return Promise.reject(this._end);
    this._count += 1;
    const eventId = `c${this._count}`;
    return new Promise((resolve, reject) => {
      this._pending.set(eventId, { resolve, reject });
      if (this._connection.send({ ...fields, type, event_id: eventId })) return;
      this._pending.delete(eventId);
      reject(new StreamError("disconnected", "the connection is lost for the moment; try again."));
    });
  }

  /** @param {string} text */
  prompt(text) {
    return this.control("prompt", { text });
  }

  /**
   * Speech, as it comes: mono, at the `audio_rate` of the wish, 16 kHz without one.
   *
   * @param {Int16Array} samples  20 ms to a second
   * @returns {boolean} false when it was not sent: the network does not keep up
   */
  feed(samples) {
    const buffer = packAudioIn(this._audioSeq, Math.round(performance.now() * 1000), samples);
    const sent = this._connection.sendMedia(buffer, MAX_WAITING_BYTES);
    if (sent) this._audioSeq += 1;
    return sent;
  }

  /** What is fed from here on has a name, by which `speech` tells how it goes. @param {string} itemId */
  beginAudio(itemId) {
    return this.control("audio.begin", { item_id: itemId });
  }

  /** The utterance is complete. */
  endAudio() {
    return this.control("audio.end", {});
  }

  /** Interrupt: what was not heard is dropped, here and on the server; the answer says how much was. */
  async clearAudio() {
    this._clearing += 1;
    try {
      const applied = await this.control("audio.clear", {});
      this._mutedUntilUs = Math.max(this._mutedUntilUs, applied.pts_us);
      return applied;
    } finally {
      this._clearing -= 1;
    }
  }

  /**
   * The packets of picture and sound, in order, until the stream ends. What was read counts as shown: read in time, as
   * the server makes no more than a little ahead of it.
   *
   * @returns {AsyncGenerator<Packet, void, void>}
   * @throws {StreamError} what ended it, unless that was `close`
   */
  async *[Symbol.asyncIterator]() {
    for (;;) {
      const packet = this._packets.shift();
      if (packet) {
        if (packet.kind === KIND.video) this._acknowledge(packet);
        if (packet.kind === KIND.audioOut && this._isMuted(packet)) packet.payload.fill(0);
        yield packet;
      } else if (this._end) {
        if (this._end.code !== ENDED) throw this._end;
        return;
      } else {
        await new Promise((resolve) => {
          this._wake = () => resolve(undefined);
        });
        this._wake = null;
      }
    }
  }

  /** End it; the server frees it at once. */
  close() {
    this._connection.end();
  }

  /** @param {Packet} packet */
  _acknowledge({ ptsUs, seq }) {
    const playheadUs = ptsUs + 1e6 / this.ready.fps;
    this._store.noteShown(seq);
    this._connection.send({ type: "ack", playhead_us: playheadUs, last_seq: seq, decode_queue: 0, dropped: 0 });
  }

  /** @param {Packet} packet */
  _isMuted({ ptsUs }) {
    return this._clearing > 0 || ptsUs < this._mutedUntilUs;
  }

  /** @param {ServerMessage} message */
  _take(message) {
    if (message.type === "applied") {
      this._pending.get(message.event_id)?.resolve(message);
      this._pending.delete(message.event_id);
    } else if (message.type === "rejected") {
      const { code, message: text, hint = null, field = null } = message;
      this._pending.get(message.event_id)?.reject(new StreamError(code, text, hint, field));
      this._pending.delete(message.event_id);
    } else if (message.type !== "pong") {
      this._options.onMessage?.(message);
    }
  }

  /** @param {ConnectionState} state */
  _changed(state) {
    const { phase, code, message, hint, retryAtMs } = state;
    const refused = phase === "refused" && retryAtMs === null;
    if (phase === "ended") this._end = new StreamError(ENDED, "the stream was closed");
    else if (refused) this._end = new StreamError(code ?? "unreachable", message ?? "the server refuses.", hint);
    if (phase !== "live") {
      const error = this._end ?? new StreamError("disconnected", "the connection was lost before the answer came.");
      this._pending.forEach(({ reject }) => reject(error));
      this._pending.clear();
    }
    if (this._end) this._fail?.(this._end);
    this._wake?.();
    this._options.onState?.(state);
  }
}

/** @returns {Storage} */
function noStorage() {
  throw new Error("nothing is kept");
}

export { audioSamples, KIND, StreamError };
