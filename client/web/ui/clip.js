/** The last seconds of the stream as a film, to keep. */

import { download } from "../media/recorder.js";
import { button } from "./dom.js";

/**
 * @import { SessionReady } from "../net/messages.js"
 * @typedef {{session: () => SessionReady | null, say: (text: string) => void}} ClipActions
 */

export class ClipView {
  /** @param {ClipActions} actions */
  constructor({ session, say }) {
    this._session = session;
    this._say = say;
    this._button = button("clip");
    this._seconds = 0;
    this._button.addEventListener("click", () => void this._save());
  }

  /** @param {number} seconds  that the server keeps; 0: none */
  setOffered(seconds) {
    this._seconds = seconds;
    this._button.hidden = seconds === 0;
    this._button.title = `Save the last ${Math.round(seconds)} seconds`;
    this._button.setAttribute("aria-label", this._button.title);
  }

  async _save() {
    const session = this._session();
    if (session === null) {
      this._say("Not connected: there is nothing to save.");
      return;
    }
    const url = new URL(`v1/sessions/${session.session_id}/clip`, document.baseURI);
    url.searchParams.set("seconds", String(this._seconds));
    this._button.disabled = true;
    try {
      const answer = await fetch(url, { headers: { authorization: `Bearer ${session.resume_token}` } });
      if (!answer.ok) throw new Error(String(answer.status));
      const film = await answer.blob();
      download(film, `rollcast-clip.${film.type === "video/webm" ? "webm" : "mp4"}`);
    } catch {
      this._say("There is no clip yet: try again in a moment.");
    } finally {
      this._button.disabled = false;
    }
  }
}
