/** The status pill and the curtain that covers the picture while there is no stream. */

import { button, byId, setText } from "./dom.js";

/**
 * @import { Status } from "./status.js"
 * @typedef {{onRetry: () => void, onImage: () => void, onToken: (token: string) => void}} StatusActions
 */

/** @type {Record<string, string>} */
const ACTION_LABEL = { retry: "Try now", start: "Start again", takeover: "Use it here", image: "Choose an image" };

export class StatusView {
  /** @param {StatusActions} actions */
  constructor({ onRetry, onImage, onToken }) {
    /** @type {Status["hint"]} */
    this._hint = null;
    this._pill = byId("status", HTMLElement);
    this._label = byId("status-label", HTMLElement);
    this._say = byId("status-say", HTMLElement);
    this._curtain = byId("curtain", HTMLElement);
    this._title = byId("curtain-title", HTMLElement);
    this._detail = byId("curtain-detail", HTMLElement);
    this._spinner = byId("curtain-spinner", HTMLElement);
    this._action = button("curtain-action");
    this._tokenForm = byId("token-form", HTMLFormElement);
    const token = byId("token", HTMLInputElement);
    this._action.addEventListener("click", () => (this._hint === "image" ? onImage() : onRetry()));
    this._tokenForm.addEventListener("submit", (event) => {
      event.preventDefault();
      onToken(token.value.trim());
    });
  }

  /** @param {Status} status */
  render(status) {
    this._pill.dataset.tone = status.tone;
    this._pill.dataset.state = status.state;
    setText(this._label, status.label);
    setText(this._say, status.title ?? status.label); // without the seconds, which nobody wants read out
    this._curtain.hidden = status.title === null;
    if (status.title === null) return;
    this._hint = status.hint;
    setText(this._title, status.title);
    setText(this._detail, status.detail ?? "");
    this._detail.hidden = status.detail === null;
    this._spinner.hidden = status.tone === "bad" || status.state === "ended" || status.hint === "image"
      || (status.state === "refused" && status.hint === null);
    this._tokenForm.hidden = status.hint !== "token";
    this._action.hidden = status.hint === null || status.hint === "token";
    setText(this._action, ACTION_LABEL[status.hint ?? ""] ?? "");
  }
}
