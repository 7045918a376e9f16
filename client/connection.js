/**
 * One stream's connection: handshake, session create or resume, watchdog and reconnect.
 *
 * It draws nothing and plays nothing. Socket, clock, timers, randomness and storage come in through
 * `ConnectionEnv`, so that the tests run it without a network and without waiting.
 */

import { MAX_ATTEMPTS, retryDelayMs } from "./backoff.js";
import { parseMessage, parsePacket, ProtocolError, VERSION } from "./protocol.js";

/**
 * @import { Codec, ErrorMessage, Packet, ServerHello, ServerMessage, SessionReady } from "./protocol.js"
 * @import { SessionStore } from "./storage.js"
 *
 * @typedef {"connecting" | "live" | "reconnecting" | "refused" | "ended"} Phase
 *
 * @typedef {object} ConnectionState
 * @property {Phase} phase
 * @property {number} attempt            0 while the first attempt runs
 * @property {number | null} retryAtMs   on the page clock; null: no retry is planned
 * @property {string | null} code        why it is not live, a code of the protocol
 * @property {string | null} message
 * @property {string | null} cure
 *
 * @typedef {Pick<WebSocket, "send" | "close" | "readyState" | "bufferedAmount" | "binaryType" | "onopen"
 *   | "onmessage" | "onclose" | "onerror">} SocketLike
 * @typedef {{model?: string, scene?: string, prompt?: string, seed?: number, max_kbps?: number}} SessionWish
 *
 * @typedef {object} ConnectionEnv
 * @property {() => SocketLike} openSocket
 * @property {(callback: () => void, delayMs: number) => number} setTimer
 * @property {(timer: number) => void} clearTimer
 * @property {() => number} nowMs
 * @property {() => number} random
 * @property {SessionStore} store
 * @property {string} clientName
 *
 * @typedef {object} ConnectionHandlers
 * @property {(state: ConnectionState) => void} onState
 * @property {(hello: ServerHello) => void} onHello
 * @property {(ready: SessionReady) => void} onReady
 * @property {(message: ServerMessage) => void} onMessage
 * @property {(packet: Packet) => void} onPacket
 */

const HANDSHAKE_MS = 10_000;
const PING_EVERY_MS = 1_000;
const SILENCE_MS = 6_000;
const STEADY_MS = 5_000;
const SOCKET_OPEN = 1;

const LOST_SESSION = new Set(["unknown_session", "wrong_resume_token", "session_expired"]);
const COMES_BACK = new Set(["capacity", "draining", "engine_failed", "timeout", "rate_limited"]);
/** @type {Record<number, string>} */
const CODE_OF_CLOSE = {
  4401: "unauthorized", 4403: "forbidden_origin", 4408: "timeout", 4429: "capacity", 4500: "engine_failed",
  4503: "draining",
};

export class Connection {
  /**
   * @param {ConnectionEnv} env
   * @param {ConnectionHandlers} handlers
   * @param {{codecs: Codec[], token: string | null, wish?: SessionWish}} options
   */
  constructor(env, handlers, { codecs, token, wish = {} }) {
    this._env = env;
    this._handlers = handlers;
    this._codecs = codecs;
    this._token = token;
    this._wish = wish;
    /** @type {SocketLike | null} */
    this._socket = null;
    /** @type {number[]} timers of the current socket */
    this._timers = [];
    /** @type {number | null} */
    this._retryTimer = null;
    /** @type {ErrorMessage | null} the last fatal error on the current socket */
    this._fatal = null;
    /** @type {number | null} when the oldest unanswered ping left */
    this._pingSentMs = null;
    this._liveSinceMs = 0;
    /** @type {ConnectionState} */
    this.state = { phase: "connecting", attempt: 0, retryAtMs: null, code: null, message: null, cure: null };
  }

  /** Connect now, whatever was planned. */
  open() {
    this._dropSocket();
    this._cancelRetry();
    this._fatal = null;
    this._setState({ phase: this.state.attempt === 0 ? "connecting" : "reconnecting", retryAtMs: null });
    const socket = this._env.openSocket();
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this._sendHello();
    socket.onmessage = (event) => this._receive(event.data);
    socket.onclose = (event) => this._lost(event.code);
    this._socket = socket;
    this._timers.push(this._env.setTimer(() => this._lost(4408), HANDSHAKE_MS));
  }

  /** The user wants it now: forget how often it failed. */
  retryNow() {
    this.state = { ...this.state, attempt: 0 };
    this.open();
  }

  /** End the session on purpose: the server frees it at once. */
  end() {
    this.send({ type: "session.close" });
    this._dropSocket();
    this._cancelRetry();
    this._env.store.clear();
    this._setState({ phase: "ended", attempt: 0, retryAtMs: null, code: null, message: null, cure: null });
  }

  /** The page sleeps or leaves: let the socket go and keep the session for `open`. */
  suspend() {
    this._dropSocket();
    this._cancelRetry();
  }

  /**
   * Close this session and start another, for instance with another model.
   *
   * @param {SessionWish} wish
   */
  restart(wish) {
    this.send({ type: "session.close" });
    this._env.store.clear();
    this._wish = wish;
    this.retryNow();
  }

  /**
   * Offer other codecs from now on; the session goes on over a new socket.
   *
   * @param {Codec[]} codecs
   */
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
    this._write(JSON.stringify(message));
    return true;
  }

  /**
   * Send media unless the socket is already full of it: late speech is worth nothing.
   *
   * @param {ArrayBuffer} buffer
   * @param {number} maxBufferedBytes
   * @returns {boolean} false when it was not sent
   */
  sendMedia(buffer, maxBufferedBytes) {
    if (this.state.phase !== "live" || !this._socket) return false;
    if (this._socket.bufferedAmount > maxBufferedBytes) return false;
    this._write(buffer);
    return true;
  }

  /** @param {string | ArrayBuffer} data */
  _write(data) {
    if (this._socket?.readyState === SOCKET_OPEN) this._socket.send(data);
  }

  _sendHello() {
    const token = this._token === null ? {} : { token: this._token };
    this._write(JSON.stringify({
      type: "hello", versions: [VERSION], client: this._env.clientName, codecs: this._codecs, audio: true, ...token,
    }));
  }

  /** @param {string | ArrayBuffer} data */
  _receive(data) {
    this._pingSentMs = null;
    try {
      if (typeof data === "string") this._receiveMessage(parseMessage(data));
      else this._handlers.onPacket(parsePacket(data));
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this._fail("bad_server", error.message, "The page and the server are of different versions: reload the page.");
    }
  }

  /** @param {ServerMessage} message */
  _receiveMessage(message) {
    if (message.type === "hello") {
      this._handlers.onHello(message);
      this._openSession();
    } else if (message.type === "session.ready") {
      this._ready(message);
    } else if (message.type === "error" && this._recoverSession(message)) {
      return;
    } else if (message.type === "error" && message.fatal) {
      this._fatal = message;
    } else if (message.type === "error" && this.state.phase !== "live") {
      this._fail(message.code, message.message, message.cure ?? null);
      return;
    }
    this._handlers.onMessage(message);
  }

  _openSession() {
    const saved = this._env.store.load();
    this._write(JSON.stringify(saved === null ? { type: "session.create", ...this._wish } : {
      type: "session.resume", session_id: saved.sessionId, resume_token: saved.resumeToken, last_seq: saved.lastSeq,
    }));
  }

  /** @param {SessionReady} ready */
  _ready(ready) {
    this._clearTimers();
    const lastSeq = ready.resumed ? (this._env.store.load()?.lastSeq ?? -1) : -1;
    this._env.store.save({ sessionId: ready.session_id, resumeToken: ready.resume_token, lastSeq });
    this._liveSinceMs = this._env.nowMs();
    this._setState({ phase: "live", retryAtMs: null, code: null, message: null, cure: null });
    this._handlers.onReady(ready);
    this._keepAsking();
  }

  /**
   * While the stream is being opened: a session that is gone is replaced by a new one, a wish that
   * cannot be met by the server's choice.
   *
   * @param {ErrorMessage} error
   * @returns {boolean} true when the error is dealt with
   */
  _recoverSession(error) {
    if (this.state.phase === "live" || (error.fatal && !LOST_SESSION.has(error.code))) return false;
    if (this._env.store.load() !== null) this._env.store.clear();
    else if (Object.keys(this._wish).length > 0) this._wish = {};
    else return false;
    if (error.fatal) this.open();
    else this._openSession();
    return true;
  }

  _keepAsking() {
    if (this._pingSentMs !== null && this._env.nowMs() - this._pingSentMs > SILENCE_MS) {
      this._lost(1006);
      return;
    }
    this._pingSentMs ??= this._env.nowMs();
    this.send({ type: "ping", t_ms: this._env.nowMs() });
    this._timers = [this._env.setTimer(() => this._keepAsking(), PING_EVERY_MS)];
  }

  /** @param {number} closeCode */
  _lost(closeCode) {
    const steady = this.state.phase === "live" && this._env.nowMs() - this._liveSinceMs >= STEADY_MS;
    const attempt = (steady ? 0 : this.state.attempt) + 1;
    const code = this._fatal?.code ?? CODE_OF_CLOSE[closeCode] ?? null;
    const message = this._fatal?.message ?? null;
    const cure = this._fatal?.cure ?? null;
    const retryAfterMs = (this._fatal?.retry_after_s ?? 0) * 1000;
    this._dropSocket();
    if (code !== null && !COMES_BACK.has(code) && !LOST_SESSION.has(code)) {
      this._fail(code, message, cure);
    } else if (attempt > MAX_ATTEMPTS) {
      this._fail("unreachable", `No answer after ${MAX_ATTEMPTS} attempts.`, "Check that the server runs, then try again.");
    } else {
      this._planRetry({ attempt, code, message, cure }, retryAfterMs);
    }
  }

  /**
   * @param {Pick<ConnectionState, "attempt" | "code" | "message" | "cure">} why
   * @param {number} retryAfterMs
   */
  _planRetry(why, retryAfterMs) {
    const delayMs = retryDelayMs(why.attempt, this._env.random, retryAfterMs);
    const phase = why.code !== null && COMES_BACK.has(why.code) ? "refused" : "reconnecting";
    this._setState({ ...why, phase, retryAtMs: this._env.nowMs() + delayMs });
    this._retryTimer = this._env.setTimer(() => this.open(), delayMs);
  }

  /**
   * @param {string} code
   * @param {string | null} message
   * @param {string | null} cure
   */
  _fail(code, message, cure) {
    this._dropSocket();
    this._setState({ phase: "refused", retryAtMs: null, code, message, cure });
  }

  _dropSocket() {
    this._clearTimers();
    this._pingSentMs = null;
    const socket = this._socket;
    this._socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null;
    socket.close();
  }

  _clearTimers() {
    this._timers.forEach((timer) => this._env.clearTimer(timer));
    this._timers = [];
  }

  _cancelRetry() {
    if (this._retryTimer !== null) this._env.clearTimer(this._retryTimer);
    this._retryTimer = null;
  }

  /** @param {Partial<ConnectionState>} change */
  _setState(change) {
    this.state = { ...this.state, ...change };
    this._handlers.onState(this.state);
  }
}
