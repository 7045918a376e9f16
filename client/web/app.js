/** The page's parts, wired: what a message, a click or a tick of the clock leads to. */

import { Controls, RELEASING } from "./input/controls.js";
import { Tracks } from "./input/tracks.js";
import { openVoiceEncoder } from "./input/voice-encoder.js";
import { Voice } from "./input/voice.js";
import { Playback } from "./media/playback.js";
import { VOICE_CONFIG } from "./media/sound-choice.js";
import { Stage } from "./media/stage.js";
import { Connection } from "./net/connection.js";
import { SILENT } from "./net/protocol.js";
import { Presence } from "./presence.js";
import { byId } from "./ui/dom.js";
import { Overlay } from "./ui/overlay.js";
import { PictureTools } from "./ui/picture-tools.js";
import { Speech } from "./ui/speech.js";
import { StageInput } from "./ui/stage-input.js";
import { describeStatus, inWords } from "./ui/status.js";
import { StreamView } from "./ui/stream-view.js";

/**
 * @import { ConnectionEnv, SessionWish, SoundCodecs } from "./net/connection.js"
 * @import { Applied, Codec, ModelDescription, Rejected, ServerMessage, SessionReady, SessionWatching, State, Stats } from "./net/messages.js"
 * @import { LeftSession, PreferenceStore } from "./net/storage.js"
 *
 * @typedef {object} AppOptions
 * @property {ConnectionEnv} env
 * @property {PreferenceStore} preferences
 * @property {Codec[]} codecs
 * @property {SoundCodecs} sound
 * @property {string | null} token
 * @property {SessionWish} wish
 * @property {string | null} watch  the token of a share link, if the page only watches
 * @property {(token: string) => void} keepToken
 * @property {LeftSession} left
 */

export class App {
  /** @param {AppOptions} options */
  constructor(options) {
    this.nowMs = options.env.nowMs;
    this.watches = options.watch !== null;
    this.codecs = options.codecs;
    /** @type {ModelDescription[]} */
    this.models = [];
    /** @type {SessionReady | SessionWatching | null} */
    this.session = null;
    this.stream = SILENT;
    this._draining = false;
    this._restartingUntilMs = -Infinity;
    this.tracks = new Tracks();
    this.stage = new Stage(byId("picture", HTMLCanvasElement), byId("glow", HTMLCanvasElement));
    this.overlay = new Overlay(byId("overlay", HTMLCanvasElement));
    this.connection = new Connection(options.env, {
      onState: () => this.view.render(),
      onHello: (hello) => {
        this.models = hello.models;
        this.view.greeted(hello);
      },
      onReady: (ready) => this._start(ready),
      onMessage: (message) => this._message(message),
      onPacket: (packet) => this.playback.receive(packet),
    }, options);
    this.controls = new Controls((message) => !this.watches && this.connection.send(message), this.nowMs);
    this.playback = new Playback(this.stage, {
      send: (message) => this.connection.send(message),
      onChunkShown: (chunk, nowMs) => this.controls.shown(chunk, nowMs),
      onGiveUpCodec: () => this._giveUpCodec(),
      nowMs: this.nowMs,
    }, { watches: this.watches });
    this.playback.audioOut.onProgress = () => this.hiddenTick();
    this.voice = new Voice({
      sendMedia: (buffer, maxBufferedBytes) => this.connection.sendMedia(buffer, maxBufferedBytes),
      sendEnd: () => this.controls.send("audio.end"),
      nowMs: this.nowMs,
      openEncoder: (onPacket) => openVoiceEncoder(VOICE_CONFIG, onPacket),
    });
    this.view = new StreamView(this, options);
    const { dock, notices } = this.view;
    this.speech = new Speech({
      voice: this.voice, audioOut: this.playback.audioOut, dock, notices, preferences: options.preferences,
      playheadUs: () => this.playback.playheadUs(), onBlock: () => this.hiddenTick(),
    });
    this.input = new StageInput(this.tracks, {
      onClear: (ids) => this.control("tracks.clear", ids === null ? {} : { ids }),
      onFull: () => notices.show("That is as many points as one stream can hold."),
      nowMs: this.nowMs,
    });
    this.tools = new PictureTools({
      stage: this.stage, notices, fps: () => this.session?.fps ?? 25, nowMs: this.nowMs,
      useSound: (on) => this.speech.setRecording(on),
    });
    this.presence = new Presence(this, options.env.store, options.left);
  }

  /** @returns {ModelDescription | null} the model of this session */
  model() {
    return this.models.find((model) => model.name === this.session?.model) ?? null;
  }

  status() {
    const { paused } = this.stream;
    const opened = this.session !== null;
    const condition = { opened, paused, draining: this._draining, stalled: this.playback.stalled() };
    const restarting = this.nowMs() < this._restartingUntilMs;
    return describeStatus(this.connection.state, { ...condition, restarting }, this.nowMs());
  }

  /**
   * Send a control, or say that it could not be sent.
   *
   * @param {string} type
   * @param {Record<string, unknown>} [fields]
   * @returns {boolean}
   */
  control(type, fields = {}) {
    if (this.watches) return false;
    const sent = this.controls.send(type, fields) !== null;
    if (!sent) this.view.notices.show("Not connected: this had no effect.", "bad");
    return sent;
  }

  /** @param {boolean} paused */
  setPaused(paused) {
    if (!this.control(paused ? "pause" : "resume")) return;
    this.stream = { ...this.stream, paused };
    this._hold();
  }

  /** Barge-in: nothing that was said and is not shown yet will be, and the rest of it is not heard. */
  interrupt() {
    if (this.control("audio.clear")) this.speech.interrupt();
  }

  end() {
    this.speech.stop();
    this.connection.end();
    this._streamChanged({ ...this.stream, received: false, talking: false });
  }

  /** A refresh of the screen; pointers may move many times between two, and are sent once. */
  frame() {
    this._sendPoints();
    this.playback.tick();
    this.overlay.draw(this.tracks, this.input.cursor, this.nowMs());
  }

  /** Anything that still moves while the page is hidden keeps the player going. */
  hiddenTick() {
    if (document.hidden) this.playback.tick();
  }

  /** Some times a second. */
  slowTick() {
    if (this.connection.state.phase === "live") this.speech.tick(this.stream.queued_audio_ms);
    this.view.render();
    this.tools.tick();
    this.hiddenTick();
  }

  /** This codec fails here: go on with the next one, on the same stream. */
  _giveUpCodec() {
    const at = this.codecs.findIndex((codec) => codec === this.session?.codec);
    const others = this.codecs.slice(at + 1);
    if (others.length === 0) {
      this.view.notices.show("This browser cannot decode the video.", "bad");
      return;
    }
    this.codecs = others;
    this.presence.remember();
    this.connection.useCodecs(others);
  }

  /** @param {SessionReady | SessionWatching} ready */
  _start(ready) {
    this.session = ready;
    this._draining = false;
    this.playback.start(ready);
    void this.speech.useSound();
    if (ready.type === "session.watching") {
      this.view.startWatching(ready);
      return;
    }
    this.voice.setCodec(this.connection.voiceCodec);
    this.controls.forget();
    if (ready.resumed) this._restate();
    else this._startAnew();
    this.view.start(ready);
  }

  _startAnew() {
    this.stream = SILENT;
    this.voice.restart();
    this.tracks.clear(this.nowMs());
    this._hold();
  }

  /** A lost connection lets go of everything on the server; take hold again. A reload also plays again. */
  _restate() {
    if (this.model()?.inputs.tracks) {
      this.controls.send("tracks.clear");
      this.tracks.restate();
    }
    if (this.playback.player.shown === 0) this.controls.send("resume");
  }

  _sendPoints() {
    for (let points = this.tracks.take(); points.length > 0; points = this.tracks.take()) {
      this.control("tracks", { points });
    }
  }

  /** @param {ServerMessage} message */
  _message(message) {
    if (message.type === "applied") this._applied(message);
    else if (message.type === "rejected") this._rejected(message);
    else if (message.type === "state") this._streamChanged(message);
    else if (message.type === "stats") this._statsChanged(message);
    else if (message.type === "pong") this.playback.serverClock.addPong(message.t_ms, this.nowMs(), message.server_ms);
    else if (message.type === "video.format") this.playback.changeCodec(message.codec, message.codec_string);
    else if (message.type === "media.clock") this.playback.peer.clock.tell(message.rtp_timestamp, message.pts_us);
    else if (message.type === "draining") this._draining = true;
    else if (message.type === "engine.restarting") this._restarting(message.retry_after_s);
    else if (message.type === "error" && !message.fatal) this.view.notices.show(inWords(message), "bad");
    else this.view.told(message);
  }

  /** Said while nothing comes; an estimate may be short. @param {number} estimateS */
  _restarting(estimateS) {
    this._restartingUntilMs = this.nowMs() + 3000 * Math.max(1, estimateS);
  }

  /** @param {Applied} applied */
  _applied(applied) {
    const type = this.controls.applied(applied);
    if (type === "audio.clear") this.playback.silenceUntil(applied.pts_us);
    if (type !== null && RELEASING.has(type)) this.tracks.clear(this.nowMs());
    this.view.applied(type, applied);
  }

  /** @param {Rejected} rejected */
  _rejected(rejected) {
    const type = this.controls.rejected(rejected);
    if (type === "audio.clear") this.playback.soundAgain();
    if (type === "scene") this.view.showScene(this.stream.scene ?? "");
    this.view.notices.show(inWords(rejected), "bad");
  }

  /** @param {Stats} stats */
  _statsChanged(stats) {
    this.playback.figures.stats(stats);
    this.stream = { ...this.stream, queued_audio_ms: stats.queued_audio_ms };
  }

  /** @param {State} state */
  _streamChanged(state) {
    const ignored = state.ignored_words ?? [];
    if (`${ignored}` !== `${this.stream.ignored_words ?? []}`) this.view.promptApplied(ignored);
    this.stream = state;
    this._hold();
    this.view.showStream(state);
  }

  _hold() {
    const { paused } = this.stream;
    this.playback.setHeld(paused);
    this.speech.held = paused;
  }
}
