/** What becomes of the stream while nobody looks at the page, and when the page is left. */

/**
 * @import { App } from "./app.js"
 * @import { LeftSession, SessionStore } from "./net/storage.js"
 */

export class Presence {
  /**
   * @param {App} app
   * @param {SessionStore} store
   * @param {LeftSession} left
   */
  constructor(app, store, left) {
    this._app = app;
    this._store = store;
    this._left = left;
    this._paused = false;
  }

  /** In a hidden tab the stream waits, unless somebody listens, talks or records. @param {boolean} hidden */
  setHidden(hidden) {
    const { playback, speech, stream, tools, controls } = this._app;
    const idle = !playback.audioOut.on && !speech.talking && !tools.recorder.on && !stream.paused;
    if (hidden && idle) {
      this._paused = controls.send("pause") !== null;
    } else if (!hidden && this._paused) {
      this._paused = false;
      this._app.setPaused(false);
    }
  }

  /** Remember for a reload how far the picture came. */
  remember() {
    const { lastSeq } = this._app.playback.player;
    if (lastSeq >= 0) this._store.noteShown(lastSeq);
  }

  /** The page goes away; the stream waits for a reload or the next tab. @param {boolean} forGood */
  leave(forGood) {
    this.remember();
    this._app.connection.suspend();
    const saved = this._store.load();
    const { session } = this._app;
    const graceMs = session?.type === "session.ready" ? session.grace_s * 1000 : 0;
    if (forGood && saved && graceMs > 0) this._left.leave(saved, Date.now() + graceMs);
  }
}
