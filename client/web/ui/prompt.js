/** The prompt box: presets, history, how fast it changes, and what the model made of the words. */

import { byId, element, setText } from "./dom.js";

/**
 * @import { ModelDescription } from "../net/messages.js"
 * @import { PreferenceStore } from "../net/storage.js"
 * @typedef {{onPrompt: (text: string, transitionChunks: number) => boolean, preferences: PreferenceStore}} PromptActions
 */

export class PromptView {
  /** @param {PromptActions} actions */
  constructor({ onPrompt, preferences }) {
    this._onPrompt = onPrompt;
    this._preferences = preferences;
    this._text = byId("prompt", HTMLTextAreaElement);
    this._note = byId("prompt-note", HTMLElement);
    this._presets = byId("presets", HTMLElement);
    this._history = byId("history", HTMLDetailsElement);
    this._historyList = byId("history-list", HTMLElement);
    this._transition = byId("transition", HTMLInputElement);
    this._transitionText = byId("transition-text", HTMLOutputElement);
    this._chunkS = 0.16;
    this._recall = -1;
    this._listen(byId("prompt-form", HTMLFormElement));
    this._showHistory();
  }

  /** @param {ModelDescription} model */
  setModel(model) {
    this._chunkS = model.chunk_frames / model.fps;
    this._presets.replaceChildren(...(model.inputs.prompt?.examples ?? []).map((text) => this._suggestion(text)));
    this._showTransition();
  }

  /** What is applied now, from the server. @param {string} text */
  setPrompt(text) {
    if (document.activeElement !== this._text) this._text.value = text;
    this._mark(text);
  }

  /** @param {string} text */
  note(text) {
    setText(this._note, text);
  }

  focus() {
    this._text.focus();
    this._text.select();
  }

  /** @param {HTMLFormElement} form */
  _listen(form) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this._apply(this._text.value.trim());
    });
    this._text.addEventListener("keydown", (event) => this._key(event));
    this._transition.addEventListener("input", () => this._showTransition());
  }

  /** Enter applies, Shift+Enter breaks the line; at the edges the arrows walk through the history. @param {KeyboardEvent} event */
  _key(event) {
    const caret = this._text.selectionStart;
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      this._apply(this._text.value.trim());
    } else if (event.key === "ArrowUp" && caret === 0) {
      this._walk(1);
    } else if (event.key === "ArrowDown" && caret === this._text.value.length) {
      this._walk(-1);
    }
  }

  /** @param {1 | -1} step */
  _walk(step) {
    const history = this._preferences.get().history;
    const at = this._recall + step;
    if (at < 0 || at >= history.length) return;
    this._recall = at;
    this._text.value = history[at];
  }

  /** @param {string} text */
  _apply(text) {
    if (!this._onPrompt(text, Number(this._transition.value))) return;
    this._recall = -1;
    this._text.value = text;
    if (text) this._preferences.rememberPrompt(text);
    this._mark(text);
    this._showHistory();
  }

  /** @param {string} text */
  _suggestion(text) {
    const chip = element("button", { className: "preset", text, attributes: { type: "button", dir: "auto" } });
    chip.addEventListener("click", () => this._apply(text));
    return chip;
  }

  /** @param {string} applied */
  _mark(applied) {
    for (const chip of this._presets.querySelectorAll("button")) {
      chip.setAttribute("aria-pressed", String(chip.textContent === applied));
    }
  }

  _showHistory() {
    const history = this._preferences.get().history;
    this._history.hidden = history.length === 0;
    this._historyList.replaceChildren(...history.map((text) => this._suggestion(text)));
  }

  _showTransition() {
    const chunks = Number(this._transition.value);
    setText(this._transitionText, chunks === 0 ? "at once" : `over ${(chunks * this._chunkS).toFixed(1)} s`);
  }
}
