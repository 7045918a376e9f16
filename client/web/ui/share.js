/** Letting others watch: a link, for how long it is good, who is there, and the way back. */

import { watchUrl } from "../net/page-address.js";
import { button, byId, setText } from "./dom.js";

/**
 * @import { SessionShared } from "../net/messages.js"
 * @typedef {{send: (message: Record<string, unknown>) => boolean, say: (text: string) => void}} ShareActions
 */

/** @param {number} count @param {boolean} own  whether it is said to one of them */
export function inWordsWatching(count, own) {
  const others = own ? count - 1 : count;
  if (own) return others <= 0 ? "You are watching." : `You and ${others} more are watching.`;
  return others === 0 ? "Nobody watches yet." : `${others} ${others === 1 ? "person watches" : "people watch"} now.`;
}

export class ShareView {
  /** @param {ShareActions} actions */
  constructor({ send, say }) {
    this._say = say;
    this._button = button("share");
    this._badge = byId("share-count", HTMLElement);
    this._dialog = byId("share-dialog", HTMLDialogElement);
    this._link = byId("share-link", HTMLInputElement);
    this._copy = button("share-copy");
    this._stop = button("share-stop");
    this._now = byId("share-now", HTMLElement);
    const lasts = byId("share-lasts", HTMLSelectElement);
    const ask = () => send({ type: "session.share", expires_in_s: Number(lasts.value) });
    this._button.addEventListener("click", () => {
      if (!ask()) this._say("Not connected: there is nothing to share.");
      else this._dialog.showModal();
    });
    lasts.addEventListener("change", ask);
    this._copy.addEventListener("click", () => void this._copyLink());
    this._stop.addEventListener("click", () => {
      if (!send({ type: "session.share", expires_in_s: 0, revoke: true })) return;
      this._dialog.close();
      this._say("Nobody watches any more, and the links are not good any more.");
    });
    this.setCount(0);
  }

  /** @param {boolean} offered  whether the server lets others watch */
  setOffered(offered) {
    this._button.hidden = !offered;
  }

  /** @param {SessionShared} shared */
  show({ share_token: token }) {
    this._link.value = token ? watchUrl(document.baseURI, token) : "";
  }

  /** @param {number} count */
  setCount(count) {
    setText(this._badge, count > 0 ? String(count) : "");
    this._badge.hidden = count === 0;
    setText(this._now, inWordsWatching(count, false));
  }

  async _copyLink() {
    this._link.select();
    try {
      await navigator.clipboard.writeText(this._link.value);
      this._say("The link is copied.");
    } catch {
      this._say("Copy it by hand: this address may not use the clipboard.");
    }
  }
}
