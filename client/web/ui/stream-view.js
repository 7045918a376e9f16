/** Everything on the page that shows the stream or asks something of it, except the picture. */

import { IMAGE_WANTED } from "../net/opening.js";
import { DockView } from "./dock.js";
import { byId, setText } from "./dom.js";
import { CameraView } from "./camera.js";
import { factsInWords, FiguresView } from "./figures.js";
import { hintInWords } from "./hint.js";
import { layOut } from "./layout.js";
import { Notices } from "./notices.js";
import { OwnPictureView } from "./own-picture.js";
import { PromptView } from "./prompt.js";
import { SceneView } from "./scenes.js";
import { SeedView } from "./seed.js";
import { ClipView } from "./clip.js";
import { inWordsWatching, ShareView } from "./share.js";
import { StartImageView } from "./start-image.js";
import { StatusView } from "./ui-status.js";
import { WebcamView } from "./webcam.js";

/**
 * @import { App } from "../app.js"
 * @import { Applied, Inputs, ModelDescription, ServerHello, ServerMessage, SessionReady, SessionWatching, State } from "../net/messages.js"
 * @import { PreferenceStore, SessionStore } from "../net/storage.js"
 */

const FIGURES_EVERY_MS = 1_000;

export class StreamView {
  /**
   * @param {App} app
   * @param {{env: {store: SessionStore}, preferences: PreferenceStore, keepToken: (token: string) => void}} options
   */
  constructor(app, { env, preferences, keepToken }) {
    this._app = app;
    this._store = env.store;
    this._preferences = preferences;
    document.body.classList.toggle("watching", app.watches);
    this.viewers = 0;
    this._dragHint = byId("drag-hint", HTMLElement);
    this._figuresMs = -Infinity;
    /** @type {Inputs | null} of the model that the page is laid out for */
    this._inputsShown = null;
    this.notices = new Notices();
    this.figures = new FiguresView();
    this.prompt = new PromptView({
      preferences,
      onPrompt: (text, chunks) => this._sendPrompt(text, chunks),
    });
    this.scenes = new SceneView({
      onScene: (scene) => {
        if (!app.control("scene", { scene })) this.showScene(app.stream.scene ?? "");
      },
      onModel: (model) => {
        app.connection.restart({ model });
        this.expect();
      },
    });
    this.own = new OwnPictureView({
      onPicture: (picture) => app.control("picture", { picture }),
      onUnread: (why) => this.notices.show(why, "bad"),
    });
    this.image = new StartImageView({
      onImage: (image) => this._startFrom(image),
      onUnread: (why) => this.notices.show(why, "bad"),
    });
    this.webcam = new WebcamView({
      sendMedia: (buffer, most) => app.connection.sendMedia(buffer, most), nowMs: app.nowMs,
    }, preferences);
    this.camera = new CameraView({
      onMotion: (motion) => app.control("camera", { ...motion }),
      singleKeys: () => preferences.get().singleKeys,
    });
    this.seed = new SeedView({
      onSeed: (seed) => app.control("seed", { seed }),
      onRestart: (seed) => app.control("reset", this._inputs()?.seed ? { seed } : {}),
    });
    this.share = new ShareView({
      send: (message) => app.connection.send(message),
      say: (text) => this.notices.show(text),
    });
    this.clip = new ClipView({
      session: () => (app.session !== null && "resume_token" in app.session ? app.session : null),
      say: (text) => this.notices.show(text),
    });
    this.status = new StatusView({
      onRetry: () => app.connection.retryNow(),
      onImage: () => this.image.choose(),
      onToken: (token) => {
        keepToken(token);
        app.connection.useToken(token);
      },
    });
    this.dock = new DockView({
      onTalk: () => void app.speech.toggleTalk(),
      onFile: (file) => void app.speech.playFile(file),
      onInterrupt: () => app.interrupt(),
      onSound: () => void app.speech.toggleSound(),
      onPause: () => app.setPaused(!app.stream.paused),
    });
  }

  /** The model that a new stream will be of, before there is one. */
  expect() {
    const { models, connection } = this._app;
    const model = models.find(({ name }) => name === connection.wish.model) ?? models[0];
    if (model) this._showModel(model);
  }

  /** @param {SessionReady} ready */
  start(ready) {
    const model = this._app.model();
    if (model) this._showModel(model);
    this._showViewers(0);
    if (ready.recorded && !ready.resumed) this.notices.show("Who runs this server keeps a log of this stream: what is said, written and dragged.");
    if (!ready.resumed) this.webcam.sender.restart();
    this.image.setThere(ready.has_image);
    this.prompt.setPrompt(ready.prompt);
    this.prompt.note("");
    if (!ready.has_picture) this.own.square = null;
    this.scenes.setOwn(ready.has_picture, this.own.square);
    this.showScene(ready.scene ?? "");
    this.seed.setSeed(ready.seed);
    this.render();
    this.camera.restate();
  }

  /** @param {ServerHello} hello */
  greeted({ limits }) {
    const { watches, session } = this._app;
    this.share.setOffered(!watches && limits.max_viewers > 0);
    this.clip.setOffered(watches ? 0 : limits.clip_s);
    if (!watches && session === null && this._store.load() === null) this.expect();
  }

  /** The picture and its sound are all there is. @param {SessionWatching} watching */
  startWatching({ viewers }) {
    const model = this._app.model();
    if (model) this._showModel(model);
    this._showViewers(viewers);
    this.render();
  }

  /** What changes the page and not the stream. @param {ServerMessage} message */
  told(message) {
    if (message.type === "viewers") this._showViewers(message.count);
    else if (message.type === "session.shared") this.share.show(message);
    else if (message.type === "session.recording" && message.why) this.notices.show(message.why, "bad");
  }

  /** @param {State} state */
  showStream(state) {
    this.dock.setSpeech(state);
    this.dock.setPaused(state.paused);
    this.webcam.sender.held = state.paused;
    this.showScene(state.scene ?? "");
  }

  /** @param {string} scene */
  showScene(scene) {
    this.scenes.setScene(scene);
    this._showHint(scene);
  }

  /** What was asked for is shown from here on. @param {string | null} type @param {Applied} applied */
  applied(type, applied) {
    if (type === "picture") this.pictureApplied();
    if (type === "image") this.image.accept();
    if (type === "prompt") this.promptApplied(applied.ignored_words ?? []);
  }

  /** @param {string[]} ignoredWords */
  promptApplied(ignoredWords) {
    const words = ignoredWords.map((word) => `“${word}”`).join(", ");
    this.prompt.note(words ? `This model does not know ${words}.` : "");
  }

  /** The picture that was handed on is shown from here on. */
  pictureApplied() {
    this.own.accept();
    this.scenes.setOwn(true, this.own.square);
  }

  /** Bring status and figures up to date. */
  render() {
    const nowMs = this._app.nowMs();
    const { phase } = this._app.connection.state;
    const live = phase === "live";
    this.status.render(this._app.status());
    const inputs = this._inputs();
    this.dock.setUsable(phase !== "ended" && phase !== "refused", inputs === null || Boolean(inputs.speech));
    document.body.classList.toggle("live", live);
    if (this._app.input) this._app.input.enabled = live && !this._app.watches && Boolean(inputs?.tracks);
    this.camera.enabled = live && !this._app.watches && Boolean(inputs?.camera);
    this.webcam.setUsable(live && !this._app.watches);
    if (phase === "ended" && this.webcam.on) this.webcam.stop();
    if (nowMs - this._figuresMs < FIGURES_EVERY_MS) return;
    this._figuresMs = nowMs;
    const { session, playback } = this._app;
    const reading = playback.figures.read(nowMs);
    this.figures.render(reading, factsInWords(session, playback, reading));
  }

  /** @returns {Inputs | null} what the model of this session takes */
  _inputs() {
    return this._app.model()?.inputs ?? null;
  }

  /** Only what the model takes is offered. @param {ModelDescription} model */
  _showModel(model) {
    layOut(model, this._preferences);
    this._inputsShown = model.inputs;
    this._showHint(this._app.stream.scene ?? "");
    this._app.tracks.limit = model.inputs.tracks?.max_tracks ?? 0;
    this.camera.setCamera(model.inputs.camera ?? null, Boolean(model.inputs.tracks));
    this.image.setInput(model.inputs.image ?? null, Boolean(model.inputs.picture));
    this.webcam.setInput(model.inputs.video ?? null);
    this.scenes.setModels(this._app.models, model);
    this.prompt.setModel(model);
    this.own.setGuide(model.inputs.picture ?? null);
  }

  /** @param {number} count  who watch by share links */
  _showViewers(count) {
    this.viewers = count;
    if (this._app.watches) setText(this._dragHint, inWordsWatching(count, true));
    else this.share.setCount(count);
  }

  /** What this picture does, in a line. @param {string} sceneName */
  _showHint(sceneName) {
    if (this._app.watches) return;
    setText(this._dragHint, hintInWords(this._inputsShown, sceneName));
  }

  /** This stream begins anew from the image, or one that waits for it begins. @param {string} image  base64 */
  _startFrom(image) {
    const { state, wish } = this._app.connection;
    if (state.phase === "live") return this._app.control("image", { image });
    this._app.connection.restart({ ...wish, image });
    return true;
  }

  /** @param {string} text @param {number} transitionChunks */
  _sendPrompt(text, transitionChunks) {
    const { state, wish } = this._app.connection;
    if (state.code === IMAGE_WANTED) {
      this._app.connection.wish = { ...wish, prompt: text };
      this.prompt.note("The stream will start with this.");
      return true;
    }
    this.prompt.note("");
    return this._app.control("prompt", { text, transition_chunks: transitionChunks });
  }
}
