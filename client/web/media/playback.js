/** The stream on screen and in the ear: packets in, pictures, sound and figures out. */

import { KIND } from "../net/protocol.js";
import { ServerClock } from "../net/server-clock.js";
import { AudioOut } from "./audio-out.js";
import { openDecoder } from "./decoder.js";
import { Figures } from "./figures.js";
import { PeerMedia } from "./peer-media.js";
import { Player } from "./player.js";
import { SoundDecoder } from "./sound-decoder.js";

/**
 * @import { Codec, SessionReady, SessionWatching } from "../net/messages.js"
 * @import { Packet } from "../net/protocol.js"
 * @import { PeerShown } from "./peer-media.js"
 * @import { Stage } from "./stage.js"
 *
 * @typedef {object} PlaybackHooks
 * @property {(message: Record<string, unknown>) => void} send
 * @property {(chunk: number, nowMs: number) => number[]} onChunkShown  delays of controls seen with it, in ms
 * @property {() => void} onGiveUpCodec
 * @property {() => number} nowMs
 */

const STALLED_MS = 1_500;
const WATCH_ACK_MS = 180;

export class Playback {
  /**
   * @param {Stage} stage
   * @param {PlaybackHooks} hooks
   * @param {{watches?: boolean}} [role]  who only watches paces nothing, and acknowledges less
   */
  constructor(stage, hooks, { watches = false } = {}) {
    this._stage = stage;
    this._hooks = hooks;
    this.serverClock = new ServerClock();
    this.figures = new Figures();
    this.audioOut = new AudioOut();
    /** @type {SoundDecoder | null} */
    this.soundDecoder = null;
    this.player = new Player({
      openDecoder,
      paint: (picture) => stage.paint(picture),
      onShown: ({ chunk, serverMs }, nowMs) => this._shown(chunk, serverMs, nowMs),
      sendAck: (ack) => hooks.send({ type: "ack", ...ack }),
      askKey: () => hooks.send({ type: "key" }),
      onGiveUp: hooks.onGiveUpCodec,
      nowMs: hooks.nowMs,
    }, watches ? WATCH_ACK_MS : undefined);
    this.peer = new PeerMedia((shown) => this._peerShown(shown));
    this._chunkFrames = 1;
    this._movedMs = 0;
    /** @type {number | null} media time from which an interrupted voice may sound again */
    this._duckUntilUs = null;
  }

  /** Media time on screen. */
  playheadUs() {
    return this.player.clock.nowUs(this._hooks.nowMs());
  }

  /** Whether the picture has stood still for longer than a hiccup. */
  stalled() {
    return this.player.shown > 0 && this._hooks.nowMs() - this._movedMs > STALLED_MS;
  }

  /** @param {SessionReady | SessionWatching} ready */
  start(ready) {
    this._movedMs = this._hooks.nowMs();
    this._chunkFrames = ready.chunk_frames;
    this._stage.resize(ready.width, ready.height);
    this.player.start(ready);
    this._startSound(ready);
    this.soundAgain();
    if ("resumed" in ready && ready.resumed) return;
    this.serverClock.reset();
    this.figures.forget();
  }

  /** What comes from here on is of another codec. @param {Codec} codec @param {string} codecString */
  changeCodec(codec, codecString) {
    this.player.changeCodec(codec, codecString);
  }

  /** @param {Packet} packet */
  receive(packet) {
    this.figures.received(packet.payload.byteLength, this._hooks.nowMs());
    if (packet.kind === KIND.video) this.player.push(packet);
    else if (packet.kind === KIND.audioOut) this.soundDecoder?.push(packet);
  }

  /** Picture and sound come as tracks of a WebRTC peer; null: as packets again. @param {MediaStream | null} stream */
  usePeer(stream) {
    this.peer.use(stream);
    this.audioOut.useElement(this.peer.element);
  }

  /** Show and sound what is due. */
  tick() {
    const heardUs = this.audioOut.positionUs();
    if (heardUs !== null) this.player.clock.follow(heardUs, this._hooks.nowMs());
    if (this._duckUntilUs !== null && this.playheadUs() >= this._duckUntilUs) this.soundAgain();
    this.player.tick();
  }

  /** @param {boolean} held  media time stands still */
  setHeld(held) {
    this.player.clock.setPaused(held, this._hooks.nowMs());
    this.audioOut.setPaused(held);
    if (!held) this._movedMs = this._hooks.nowMs();
  }

  /** The interrupted voice is silent from here on in media time. @param {number} ptsUs */
  silenceUntil(ptsUs) {
    this._duckUntilUs = ptsUs;
  }

  soundAgain() {
    this._duckUntilUs = null;
    this.audioOut.duck(false);
  }

  /** @param {SessionReady | SessionWatching} ready */
  _startSound({ audio_codec: codec, sample_rate: rate }) {
    this.soundDecoder?.close();
    const packets = codec && rate && this.peer.element === null;
    this.soundDecoder = packets ? new SoundDecoder(codec, rate, (piece) => this.audioOut.push(piece)) : null;
    if (this.soundDecoder) this.audioOut.setSampleRate(this.soundDecoder.sampleRate);
    this.audioOut.clear();
  }

  /** @param {PeerShown} shown */
  _peerShown({ picture, ptsUs, nowMs }) {
    this._stage.paint(picture);
    if (ptsUs === null) return;
    this.player.present(ptsUs, this._chunkFrames, nowMs);
    this._shown(this.player.lastChunk, null, nowMs);
  }

  /** @param {number} chunk @param {number | null} serverMs @param {number} nowMs */
  _shown(chunk, serverMs, nowMs) {
    this._movedMs = nowMs;
    this.figures.shown(nowMs, serverMs === null ? null : this.serverClock.ageMs(serverMs, nowMs));
    this._hooks.onChunkShown(chunk, nowMs).forEach((delayMs) => this.figures.photon(delayMs));
  }
}
