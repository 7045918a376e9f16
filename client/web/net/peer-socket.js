/**
 * A WebRTC peer with the shape of a WebSocket: its data channel carries the same messages, and media comes as tracks.
 *
 * WHEP: the offer is posted, the answer names the resource. A peer that is not open in time is closed.
 */

/**
 * @import { SocketLike } from "./stream-socket.js"
 *
 * @typedef {() => SocketLike} PeerFactory
 *
 * @typedef {object} PeerOptions
 * @property {string} url            of WHEP
 * @property {string | null} token
 * @property {RTCIceServer[]} iceServers
 * @property {(stream: MediaStream | null) => void} onMedia  null: it is over
 * @property {(bytes: number) => void} onBytes               of media that came since the last call
 */

const OPEN_MS = 5_000;
const GATHER_MS = 1_500;
const STATS_EVERY_MS = 1_000;
const CONNECTING = 0, OPEN = 1, CLOSED = 3;

/** @implements {SocketLike} */
export class PeerSocket {
  /** @param {PeerOptions} options */
  constructor(options) {
    this._options = options;
    /** @type {0 | 1 | 2 | 3} */
    this.readyState = CONNECTING;
    /** @type {BinaryType} */
    this.binaryType = "arraybuffer";
    /** @type {SocketLike["onopen"]} */
    this.onopen = null;
    /** @type {SocketLike["onmessage"]} */
    this.onmessage = null;
    /** @type {SocketLike["onclose"]} */
    this.onclose = null;
    /** @type {SocketLike["onerror"]} */
    this.onerror = null;
    this._bytes = 0;
    this._peer = new RTCPeerConnection({ iceServers: options.iceServers, bundlePolicy: "max-bundle" });
    this._channel = this._peer.createDataChannel("rollcast");
    this._channel.binaryType = "arraybuffer";
    this._channel.onopen = () => this._opened();
    this._channel.onmessage = (event) => this.onmessage?.call(/** @type {any} */ (this), event);
    this._channel.onclose = () => this._lost();
    this._peer.onconnectionstatechange = () => {
      if (this._peer.connectionState === "failed") this._lost();
    };
    const media = new MediaStream();
    this._peer.ontrack = ({ track }) => {
      media.addTrack(track);
      if (track.kind === "video") options.onMedia(media);
    };
    this._deadline = setTimeout(() => this._lost(), OPEN_MS);
    this._stats = setInterval(() => void this._count(), STATS_EVERY_MS);
    this._negotiate().catch(() => this._lost());
  }

  get bufferedAmount() {
    return this._channel.bufferedAmount;
  }

  /** @param {any} data  what is too long for a channel is lost with it: nothing that long is sent while one speaks */
  send(data) {
    this._channel.send(data);
  }

  close() {
    if (this.readyState === CLOSED) return;
    this.readyState = CLOSED;
    clearTimeout(this._deadline);
    clearInterval(this._stats);
    this._channel.onopen = this._channel.onmessage = this._channel.onclose = null;
    this._peer.close();
    this._options.onMedia(null);
  }

  async _negotiate() {
    const { url, token } = this._options;
    const peer = this._peer;
    peer.addTransceiver("video", { direction: "recvonly" });
    peer.addTransceiver("audio", { direction: "recvonly" });
    await peer.setLocalDescription(await peer.createOffer());
    await gathered(peer);
    const answer = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/sdp", ...(token === null ? {} : { authorization: `Bearer ${token}` }) },
      body: peer.localDescription?.sdp,
    });
    if (answer.status !== 201) throw new Error(`WHEP answered ${answer.status}`);
    await peer.setRemoteDescription({ type: "answer", sdp: await answer.text() });
  }

  _opened() {
    clearTimeout(this._deadline);
    this.readyState = OPEN;
    this.onopen?.call(/** @type {any} */ (this), new Event("open"));
  }

  /** Media does not pass through here, so what came is asked of the browser. */
  async _count() {
    if (this.readyState !== OPEN) return;
    let bytes = 0;
    for (const report of (await this._peer.getStats()).values()) {
      if (report.type === "inbound-rtp") bytes += report.bytesReceived ?? 0;
    }
    if (bytes > this._bytes) this._options.onBytes(bytes - this._bytes);
    this._bytes = bytes;
  }

  _lost() {
    if (this.readyState === CLOSED) return;
    this.close();
    this.onclose?.call(/** @type {any} */ (this), new CloseEvent("close", { code: 1006 }));
  }
}

/** @param {RTCPeerConnection} peer  @returns {Promise<void>} once its candidates are known, or soon */
function gathered(peer) {
  return new Promise((resolve) => {
    const done = () => {
      if (peer.iceGatheringState === "complete") resolve();
    };
    peer.addEventListener("icegatheringstatechange", done);
    setTimeout(resolve, GATHER_MS);
    done();
  });
}
