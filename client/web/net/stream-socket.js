/** One socket from its opening to its loss: handshake deadline, pings, and noticing silence. */

import { parseMessage, parsePacket, ProtocolError } from "./protocol.js";

/**
 * @import { ServerMessage } from "./messages.js"
 * @import { Packet } from "./protocol.js"
 *
 * @typedef {Pick<WebSocket, "send" | "close" | "readyState" | "bufferedAmount" | "binaryType" | "onopen"
 *   | "onmessage" | "onclose" | "onerror">} SocketLike
 *
 * @typedef {object} SocketEnv
 * @property {() => SocketLike} openSocket
 * @property {(callback: () => void, delayMs: number) => number} setTimer
 * @property {(timer: number) => void} clearTimer
 * @property {() => number} nowMs
 *
 * @typedef {object} SocketHandlers
 * @property {() => void} onOpen
 * @property {(message: ServerMessage) => void} onMessage
 * @property {(packet: Packet) => void} onPacket
 * @property {(closeCode: number, opened: boolean) => void} onLost  the last call, unless `close` came first
 * @property {(reason: string) => void} onNonsense     the server does not follow the protocol
 */

/** Longer than the server waits for its client, so that its reason is heard; each word of it counts anew. */
const HANDSHAKE_MS = 15_000;
const PING_EVERY_MS = 1_000;
const SILENCE_MS = 6_000;
/** How long the server may take to close after it was asked to end the session. */
const FAREWELL_MS = 1_000;
const OPEN = 1;
const CLOSE_TIMEOUT = 4408;
const CLOSE_ABNORMAL = 1006;

export class StreamSocket {
  /**
   * @param {SocketEnv} env
   * @param {SocketHandlers} handlers
   */
  constructor(env, handlers) {
    this._env = env;
    this._handlers = handlers;
    /** @type {number | null} when the oldest unanswered ping left */
    this._pingSentMs = null;
    this._socket = env.openSocket();
    this._socket.binaryType = "arraybuffer";
    this._opened = false;
    this._socket.onopen = () => {
      this._opened = true;
      handlers.onOpen();
    };
    this._socket.onmessage = (event) => this._receive(event.data);
    this._socket.onclose = (event) => this._lost(event.code);
    this._opening = true;
    this._timer = this._giveUpLater();
  }

  /** The session is open: from now on silence means that the connection is dead. */
  keepAlive() {
    this._env.clearTimer(this._timer);
    this._opening = false;
    if (this._pingSentMs !== null && this._env.nowMs() - this._pingSentMs > SILENCE_MS) {
      this._lost(CLOSE_ABNORMAL);
      return;
    }
    this._pingSentMs ??= this._env.nowMs();
    this.say({ type: "ping", t_ms: this._env.nowMs() });
    this._timer = this._env.setTimer(() => this.keepAlive(), PING_EVERY_MS);
  }

  /** @param {Record<string, unknown>} message */
  say(message) {
    this.send(JSON.stringify(message));
  }

  /** @param {string | ArrayBuffer} data */
  send(data) {
    if (this._socket.readyState === OPEN) this._socket.send(data);
  }

  /** Bytes that have not left yet. */
  get waiting() {
    return this._socket.bufferedAmount;
  }

  /** Let go of it; nothing is heard from it any more. */
  close() {
    const socket = this._socket;
    this._env.clearTimer(this._timer);
    socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null;
    socket.close();
  }

  /**
   * Say this as the last thing and let the server close: a socket that is closed under its hands may
   * take the message with it.
   *
   * @param {Record<string, unknown>} message
   * @param {() => void} onDone
   */
  finish(message, onDone) {
    const socket = this._socket;
    this.say(message);
    this._env.clearTimer(this._timer);
    const done = () => {
      this.close();
      onDone();
    };
    this._timer = this._env.setTimer(done, FAREWELL_MS);
    socket.onopen = socket.onmessage = socket.onerror = null;
    socket.onclose = done;
  }

  /** @param {string | ArrayBuffer} data */
  _receive(data) {
    this._pingSentMs = null;
    if (this._opening) {
      this._env.clearTimer(this._timer);
      this._timer = this._giveUpLater();
    }
    try {
      if (typeof data === "string") this._handlers.onMessage(parseMessage(data));
      else this._handlers.onPacket(parsePacket(data));
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.close();
      this._handlers.onNonsense(error.message);
    }
  }

  _giveUpLater() {
    return this._env.setTimer(() => this._lost(CLOSE_TIMEOUT), HANDSHAKE_MS);
  }

  /** A dead network may keep a socket half open for minutes, so it is not waited for. @param {number} closeCode */
  _lost(closeCode) {
    this.close();
    this._handlers.onLost(closeCode, this._opened);
  }
}
