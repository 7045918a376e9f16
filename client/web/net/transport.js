/** Over what a stream goes: a WebSocket, or WebRTC where the server has it, with the WebSocket behind it. */

/**
 * @import { SocketLike } from "./stream-socket.js"
 * @import { PeerFactory } from "./peer-socket.js"
 *
 * @typedef {"auto" | "webrtc" | "websocket"} TransportChoice
 *
 * @typedef {object} WebRtcOffer  what `GET v1/webrtc` answers
 * @property {boolean} available
 * @property {boolean} [loopback]        only pages on the server's own machine reach it
 * @property {RTCIceServer[]} [ice_servers]
 */

const CHOICES = ["auto", "webrtc", "websocket"];
const OPEN = 1;
/** A server that does not say is asked over a WebSocket, where the user is told what happens. */
const ASK_MS = 2_000;

/** `?transport=webrtc` or `websocket`, if the user wants to say. @param {string} search @returns {TransportChoice | null} */
export function transportFrom(search) {
  return transportChoice(new URLSearchParams(search).get("transport"));
}

/** @param {unknown} text @returns {TransportChoice | null} */
export function transportChoice(text) {
  return /** @type {TransportChoice | null} */ (CHOICES.find((each) => each === text) ?? null);
}

/**
 * Left to itself the page takes WebRTC where it would otherwise get JPEG, for want of WebCodecs, as on plain http;
 * where it has them a WebSocket shows frames sooner.
 *
 * @param {TransportChoice} wanted
 * @param {WebRtcOffer} offer
 * @param {{peers: boolean, codecs: boolean, loopback: boolean}} can  what this page can, and whether it lies here
 */
export function takesWebRtc(wanted, offer, can) {
  if (!offer.available || !can.peers || wanted === "websocket") return false;
  return wanted === "webrtc" || (!can.codecs && (can.loopback || !offer.loopback));
}

/** @param {string} base  the page's address @param {string | null} token @returns {Promise<WebRtcOffer>} */
export async function askForWebRtc(base, token) {
  try {
    const headers = token === null ? undefined : { authorization: `Bearer ${token}` };
    const answer = await fetch(new URL("v1/webrtc", base), { cache: "no-store", headers, signal: AbortSignal.timeout(ASK_MS) });
    return answer.ok ? await answer.json() : { available: false };
  } catch {
    return { available: false };
  }
}

/**
 * A peer that becomes a WebSocket when it cannot be opened; whoever uses it sees one socket.
 *
 * @implements {SocketLike}
 */
export class FallbackSocket {
  /**
   * @param {PeerFactory} openPeer
   * @param {() => SocketLike} openWebSocket
   * @param {() => void} onFallback
   */
  constructor(openPeer, openWebSocket, onFallback) {
    /** @type {SocketLike["onopen"]} */
    this.onopen = null;
    /** @type {SocketLike["onmessage"]} */
    this.onmessage = null;
    /** @type {SocketLike["onclose"]} */
    this.onclose = null;
    /** @type {SocketLike["onerror"]} */
    this.onerror = null;
    /** @type {BinaryType} */
    this.binaryType = "arraybuffer";
    this._closed = false;
    /** @type {SocketLike} */
    this._socket = this._watch(openPeer());
    this._socket.onclose = (event) => {
      if (this._closed) return;
      if (this._opened) {
        this.onclose?.call(/** @type {any} */ (this), event);
        return;
      }
      onFallback();
      this._socket = this._watch(openWebSocket());
      this._socket.onclose = (lost) => this.onclose?.call(/** @type {any} */ (this), lost);
    };
  }

  get readyState() {
    return this._socket.readyState;
  }

  get bufferedAmount() {
    return this._socket.bufferedAmount;
  }

  /** @param {any} data */
  send(data) {
    if (this._socket.readyState === OPEN) this._socket.send(data);
  }

  close() {
    this._closed = true;
    this._socket.close();
  }

  /** @param {SocketLike} socket */
  _watch(socket) {
    this._opened = false;
    socket.binaryType = "arraybuffer";
    socket.onopen = (event) => {
      this._opened = true;
      this.onopen?.call(/** @type {any} */ (this), event);
    };
    socket.onmessage = (event) => this.onmessage?.call(/** @type {any} */ (this), event);
    return socket;
  }
}
