/** Starts the page. */

import { App } from "./app.js";
import { exposeForSupport } from "./debug-handle.js";
import { listenForShortcuts } from "./input/shortcuts.js";
import { supportedCodecs } from "./media/codec-support.js";
import { networkOf, opusSupport, soundCodecs } from "./media/sound-choice.js";
import { findObstacle } from "./net/handshake.js";
import { PeerSocket } from "./net/peer-socket.js";
import { askForWebRtc, FallbackSocket, takesWebRtc, transportChoice, transportFrom } from "./net/transport.js";
import { codecsFrom, soundFrom, streamUrl, takeToken, watchFrom, wishFrom } from "./net/page-address.js";
import { LeftSession, PreferenceStore, SessionStore, TokenStore } from "./net/storage.js";
import { watchPageLife } from "./page-life.js";
import { button, byId } from "./ui/dom.js";
import { toggleTheme } from "./ui/theme.js";

const SLOW_TICK_MS = 100;
const REMEMBER_EVERY_MS = 1_000;

/**
 * @import { Codec } from "./net/messages.js"
 * @import { WebRtcOffer } from "./net/transport.js"
 */

/** @returns {Storage} */
function noStorage() {
  throw new Error("nothing is kept");
}

/** @param {PreferenceStore} preferences @param {TokenStore} tokens @returns {Promise<App>} */
async function openApp(preferences, tokens) {
  const token = takeToken(location, history, tokens);
  const [supported, opus, webrtc] = await Promise.all([
    supportedCodecs(), opusSupport(), askForWebRtc(document.baseURI, watchFrom(location.hash) ?? token),
  ]);
  offerTransports(preferences, webrtc);
  const wish = wishFrom(location.search);
  const watch = watchFrom(location.hash);
  // who watches leaves alone what this browser keeps of streams of its own
  const left = new LeftSession(watch === null ? undefined : noStorage);
  const store = new SessionStore(watch === null ? undefined : noStorage);
  const own = store.load();
  const abandoned = left.take(Date.now()); // after a reload it is this page's own
  if (!own && abandoned && Object.keys(wish).length === 0) store.save(abandoned);
  return new App({
    env: {
      openSocket: (secret) => openSocket(preferences, webrtc, supported, secret),
      setTimer: (callback, delayMs) => window.setTimeout(callback, delayMs),
      clearTimer: (timer) => window.clearTimeout(timer),
      nowMs: () => performance.now(),
      random: Math.random,
      store,
      findObstacle: () => findObstacle(streamUrl(document.baseURI), () => document.cookie),
      clientName: "rollcast-page/1",
    },
    preferences,
    codecs: codecsFrom(location.search, supported),
    sound: soundCodecs(soundFrom(location.search), opus, networkOf(navigator, location.hostname)),
    token,
    wish,
    watch,
    left,
    keepToken: (token) => tokens.keep(token),
  });
}

let webRtcFailed = false;

/**
 * WebRTC where it is chosen and gets through, a WebSocket otherwise.
 *
 * @param {PreferenceStore} preferences @param {WebRtcOffer} webrtc @param {Codec[]} supported @param {string | null} token
 */
function openSocket(preferences, webrtc, supported, token) {
  const openWebSocket = () => new WebSocket(streamUrl(document.baseURI));
  const wanted = transportFrom(location.search) ?? transportChoice(preferences.get().transport) ?? "auto";
  const can = {
    peers: "RTCPeerConnection" in window && "requestVideoFrameCallback" in HTMLVideoElement.prototype,
    codecs: supported.length > 1,
    loopback: ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname),
  };
  if (webRtcFailed || !takesWebRtc(wanted, webrtc, can)) return openWebSocket();
  const openPeer = () => new PeerSocket({
    url: new URL("v1/whep", document.baseURI).href,
    token,
    iceServers: webrtc.ice_servers ?? [],
    onMedia: (stream) => app.playback.usePeer(stream),
    onBytes: (bytes) => app.playback.figures.received(bytes, performance.now()),
  });
  return new FallbackSocket(openPeer, openWebSocket, () => {
    webRtcFailed = true;
  });
}

/** @param {PreferenceStore} preferences @param {WebRtcOffer} webrtc */
function offerTransports(preferences, webrtc) {
  const choice = byId("transport", HTMLSelectElement);
  byId("transport-choice", HTMLElement).hidden = !webrtc.available;
  choice.value = transportFrom(location.search) ?? transportChoice(preferences.get().transport) ?? "auto";
  choice.addEventListener("change", () => {
    webRtcFailed = false;
    preferences.update({ transport: transportChoice(choice.value) ?? "auto" });
    history.replaceState(null, "", withoutTransport(location.href));
    app.connection.open(); // the stream goes on over the other way
  });
}

/** What was chosen by hand counts from here on. @param {string} href */
function withoutTransport(href) {
  const url = new URL(href);
  url.searchParams.delete("transport");
  return url.href;
}

/** @param {App} app */
function keepTime(app) {
  const onFrame = () => {
    app.frame();
    requestAnimationFrame(onFrame);
  };
  requestAnimationFrame(onFrame);
  setInterval(() => app.slowTick(), SLOW_TICK_MS);
  setInterval(() => app.presence.remember(), REMEMBER_EVERY_MS);
  watchPageLife({
    onHidden: (hidden) => app.presence.setHidden(hidden),
    onLeave: (forGood) => app.presence.leave(forGood),
    mayLose: () => app.tools.recorder.unsaved,
    onReturn: () => app.connection.open(),
    onOnline: () => {
      if (app.connection.state.phase === "reconnecting") app.connection.retryNow();
    },
  });
}

/** @param {App} app @param {PreferenceStore} preferences */
function listen(app, preferences) {
  const help = byId("help-dialog", HTMLDialogElement);
  const showHelp = () => help.showModal();
  button("theme").addEventListener("click", () => toggleTheme(preferences));
  button("help").addEventListener("click", showHelp);
  button("end").addEventListener("click", () => app.end());
  const singleKeys = byId("single-keys", HTMLInputElement);
  singleKeys.checked = preferences.get().singleKeys;
  singleKeys.addEventListener("change", () => preferences.update({ singleKeys: singleKeys.checked }));
  app.view.figures.panel.addEventListener("toggle", () => {
    preferences.update({ figuresOpen: app.view.figures.panel.open });
  });
  const steering = {
    t: press("talk"),
    i: press("interrupt"),
    u: press("file"),
    " ": () => app.setPaused(!app.stream.paused),
    p: () => app.view.prompt.focus(),
    a: press("anchor"),
    Escape: press("clear"),
  };
  listenForShortcuts({
    ...(app.watches ? {} : steering),
    m: press("sound"),
    r: () => void app.tools.toggleRecording(),
    s: () => void app.tools.saveScreenshot(),
    f: () => app.tools.toggleFullScreen(),
    "?": showHelp,
  }, () => preferences.get().singleKeys);
}

/** A token may be pasted into the address of the open page. @param {App} app @param {TokenStore} tokens */
function takePastedTokens(app, tokens) {
  window.addEventListener("hashchange", () => {
    if ((watchFrom(location.hash) !== null) !== app.watches) {
      location.reload(); // it is another page then
      return;
    }
    const before = tokens.load();
    const token = takeToken(location, history, tokens);
    if (token !== null && token !== before) app.connection.useToken(token);
  });
}

/** A key does what its button does, and nothing where the model has no use for it. @param {string} id */
function press(id) {
  return () => button(id).click();
}

const preferences = new PreferenceStore();
const tokens = new TokenStore();
const app = await openApp(preferences, tokens);
app.view.figures.panel.open = preferences.get().figuresOpen ?? matchMedia("(min-width: 900px)").matches;
listen(app, preferences);
takePastedTokens(app, tokens);
exposeForSupport(app);
keepTime(app);
app.connection.open();
