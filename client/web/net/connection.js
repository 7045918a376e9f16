/**
 * One stream over as many sockets as it takes: session create or resume, and reconnect.
 *
 * It draws nothing and plays nothing. Sockets, clock, timers, randomness and storage come in through
 * `ConnectionEnv`, so that the tests run it without a network and without waiting.
 */

import { MAX_ATTEMPTS, MAX_REFUSALS, retryDelayMs } from "./backoff.js";
import { NO_REASON } from "./connection-state.js";
import { afterRefusal, greeting, IMAGE_WANTED, request } from "./opening.js";
import { explainLoss, explainWatchersLoss } from "./refusal.js";
import { StreamSocket } from "./stream-socket.js";

/**
 * @import { AudioCodec, Codec, ErrorMessage, ServerHello, ServerMessage, SessionCreate, SessionReady, SessionWatching } from "./messages.js"
 * @import { Packet } from "./protocol.js"
 * @import { ConnectionState } from "./connection-state.js"
 * @import { Obstacle } from "./handshake.js"
 * @import { Loss } from "./refusal.js"
 * @import { SessionStore } from "./storage.js"
 * @import { SocketEnv, SocketLike } from "./stream-socket.js"
 *
 * @typedef {Partial<Omit<SessionCreate, "type" | "event_id" | "ticket" | "audio_codec">>} SessionWish
 * @typedef {{take: AudioCodec[], send: AudioCodec}} SoundCodecs  what can be heard, best first, and how voice is sent
 * @typedef {Omit<SocketEnv, "openSocket"> & {openSocket: (token: string | null) => SocketLike, random: () => number,
 *   store: SessionStore, clientName: string, findObstacle: () => Promise<Obstacle | null>}} ConnectionEnv
 *
 * @typedef {object} ConnectionHandlers
 * @property {(state: ConnectionState) => void} onState
 * @property {(hello: ServerHello) => void} onHello
 * @property {(ready: SessionReady | SessionWatching) => void} onReady
 * @property {(message: ServerMessage) => void} onMessage  everything but what opens the session
 * @property {(packet: Packet) => void} onPacket
 */

/** A session that lived this long was not a failed attempt. */
const STEADY_MS = 5_000;

export class Connection {
  /**
   * @param {ConnectionEnv} env
   * @param {ConnectionHandlers} handlers
   * @param {{codecs: Codec[], sound?: SoundCodecs, token: string | null, wish?: SessionWish, insists?: boolean,
   *   watch?: string | null}} options  `watch`: the token of a share link, whose stream is watched and nothing else;
   *   `insists`: no other stream will do than the one that is wished for
   */
  constructor(env, handlers, { codecs, sound = { take: ["pcm"], send: "pcm" }, token, wish = {}, insists = false, watch = null }) {
    this._env = env;
    this._handlers = handlers;
    this._codecs = codecs;
    this._sound = sound;
    this._token = watch ?? token;
    this._watches = watch !== null;
    this.wish = wish; // of a new stream
    this._insists = insists;
    /** How this stream's voice is sent, which lasts as long as it. @type {AudioCodec} */
    this.voiceCodec = "pcm";
    /** @type {StreamSocket | null} */
    this._socket = null;
    /** @type {number | null} */
    this._retryTimer = null;
    /** @type {ErrorMessage | null} the last fatal error on the current socket */
    this._fatal = null;
    this._liveSinceMs = 0;
    /** @type {ConnectionState} */
    this.state = { phase: "connecting", attempt: 0, ...NO_REASON };
  }

  /** Connect now, whatever was planned. */
  open() {
    this.suspend();
    this._fatal = null;
    this._setState({ phase: this.state.attempt === 0 ? "connecting" : "reconnecting", retryAtMs: null });
    const env = { ...this._env, openSocket: () => this._env.openSocket(this._token) };
    this._socket = new StreamSocket(env, {
      onOpen: () => this._sayHello(),
      onMessage: (message) => this._receive(message),
      onPacket: (packet) => this._handlers.onPacket(packet),
      onLost: (closeCode, opened) => {
        this._lost(closeCode);
        if (!opened) void this._findObstacle(this.state.attempt);
      },
      onNonsense: (reason) =>
        this._fail("bad_server", reason, "The page and the server are of different versions: reload the page."),
    });
  }

  /** The user wants it now: forget how often it failed. */
  retryNow() {
    this.state = { ...this.state, attempt: 0 };
    this.open();
  }

  /** The page sleeps or leaves: let the socket go and keep the session for `open`. */
  suspend() {
    this._socket?.close();
    this._socket = null;
    if (this._retryTimer !== null) this._env.clearTimer(this._retryTimer);
    this._retryTimer = null;
  }

  /** End the session on purpose: the server frees it at once. */
  end() {
    this._closeSession(() => {});
    this._setState({ phase: "ended", attempt: 0, ...NO_REASON });
  }

  /**
   * Close this session and start another, for instance with another model.
   *
   * @param {SessionWish} wish
   */
  restart(wish) {
    this.wish = wish;
    if (this.state.phase === "queued") return this.retryNow(); // the turn in the line stays
    this._closeSession(() => this.retryNow()); // only then is the place free
    this._setState({ phase: "connecting", attempt: 0, ...NO_REASON });
  }

  /** Offer other codecs from now on; the session goes on over a new socket. @param {Codec[]} codecs */
  useCodecs(codecs) {
    this._codecs = codecs;
    this.open();
  }

  /** @param {string} token */
  useToken(token) {
    this._token = token;
    this.retryNow();
  }

  /**
   * @param {Record<string, unknown>} message
   * @returns {boolean} false when there is no live session to send it to
   */
  send(message) {
    if (this.state.phase !== "live") return false;
    this._socket?.say(message);
    return true;
  }

  /**
   * Send media unless the socket is already full of it: late speech is worth nothing.
   *
   * @param {ArrayBuffer} buffer
   * @param {number} maxWaitingBytes
   * @returns {boolean} false when it was not sent
   */
  sendMedia(buffer, maxWaitingBytes) {
    if (this.state.phase !== "live" || !this._socket || this._socket.waiting > maxWaitingBytes) return false;
    this._socket.send(buffer);
    return true;
  }

  _sayHello() {
    this._socket?.say(greeting(this._env.clientName, this._codecs, this._sound.take, this._token));
  }

  _openSession() {
    const saved = this._env.store.load();
    this.voiceCodec = saved === null ? this._sound.send : (saved.voiceCodec ?? "pcm");
    this._socket?.say(this._watches ? { type: "session.watch" } : request(saved, this.voiceCodec, this.wish, this._env.store.ticket));
  }

  /** @param {() => void} onClosed */
  _closeSession(onClosed) {
    const socket = ["live", "queued"].includes(this.state.phase) ? this._socket : null;
    if (socket) this._socket = null;
    this.suspend();
    this._env.store.clear();
    if (socket) socket.finish({ type: "session.close" }, onClosed);
    else onClosed();
  }

  /** @param {ServerMessage} message */
  _receive(message) {
    if (message.type === "hello") {
      this._handlers.onHello(message);
      this._openSession();
    } else if (message.type === "queued") {
      this._env.store.keepTicket(message.ticket);
      this._setState({ phase: "queued", attempt: 0, ...NO_REASON, position: message.position, etaS: message.eta_s ?? null });
    } else if (message.type === "session.ready") {
      this._env.store.keep(message, this.voiceCodec);
      this._ready(message);
    } else if (message.type === "session.watching") {
      this._ready(message);
    } else if (message.type === "error" && this.state.phase !== "live") {
      this._openingFailed(message);
    } else {
      if (message.type === "error" && message.fatal) this._fatal = message;
      this._handlers.onMessage(message);
    }
  }

  /** @param {SessionReady | SessionWatching} ready */
  _ready(ready) {
    this._liveSinceMs = this._env.nowMs();
    this._setState({ phase: "live", ...NO_REASON });
    this._handlers.onReady(ready);
    this._socket?.keepAlive();
  }

  /** @param {ErrorMessage} error */
  _openingFailed(error) {
    const resuming = this._env.store.load() !== null;
    const wishing = !this._insists && Object.keys(this.wish).length > 0;
    const next = this._watches ? "lost" : afterRefusal(error, { resuming, wishing });
    if (next === "lost") this._fatal = error;
    if (next === "ask") this._fail(IMAGE_WANTED, error.message, error.hint ?? null);
    if (next === "fail") this._fail(error.code, error.message, error.hint ?? null);
    if (next !== "anew" && next !== "plain") return;
    if (next === "anew") this._env.store.clear();
    else this.wish = {};
    if (error.fatal) this.open();
    else this._openSession();
  }

  /** @param {number} closeCode */
  _lost(closeCode) {
    const steady = this.state.phase === "live" && this._env.nowMs() - this._liveSinceMs >= STEADY_MS;
    const attempt = (steady ? 0 : this.state.attempt) + 1;
    const loss = this._watches ? explainWatchersLoss(this._fatal, closeCode) : explainLoss(this._fatal, closeCode);
    if (loss.code !== null && (!loss.passes || attempt > MAX_REFUSALS)) {
      this._fail(loss.code, loss.message, loss.hint);
    } else if (loss.code === null && attempt > MAX_ATTEMPTS) {
      this._fail("unreachable", `No answer after ${MAX_ATTEMPTS} attempts.`, "Check that the server runs, then try again.");
    } else {
      this._planRetry(attempt, loss);
    }
  }

  /** What stands in the way of a handshake, once it is known. @param {number} attempt */
  async _findObstacle(attempt) {
    const found = await this._env.findObstacle();
    const { phase } = this.state;
    const waits = phase === "reconnecting" || phase === "refused";
    if (found && waits && this.state.attempt === attempt) this._setState(found);
  }

  /** @param {number} attempt @param {Loss} loss */
  _planRetry(attempt, { code, message, hint, refused, retryAfterMs }) {
    const delayMs = retryDelayMs(attempt, this._env.random, retryAfterMs);
    const phase = refused ? "refused" : "reconnecting";
    this._socket = null;
    this._setState({ phase, attempt, code, message, hint, retryAtMs: this._env.nowMs() + delayMs });
    this._retryTimer = this._env.setTimer(() => this.open(), delayMs);
  }

  /**
   * Only the user can help.
   *
   * @param {string} code
   * @param {string | null} message
   * @param {string | null} hint
   */
  _fail(code, message, hint) {
    this.suspend();
    this._setState({ phase: "refused", retryAtMs: null, code, message, hint });
  }

  /** @param {Partial<ConnectionState>} change */
  _setState(change) {
    this.state = { ...this.state, ...change };
    this._handlers.onState(this.state);
  }
}
