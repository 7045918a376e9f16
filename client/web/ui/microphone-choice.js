/** The choice among several microphones; hidden while there is nothing to choose. */

import { listMicrophones } from "../input/microphone.js";
import { byId, element } from "./dom.js";

export class MicrophoneChoice {
  /** @param {string} chosen  id of the device used before, or empty @param {(id: string) => void} onChoice */
  constructor(chosen, onChoice) {
    this._row = byId("mic-choice", HTMLElement);
    this._select = byId("mic-device", HTMLSelectElement);
    this.chosen = chosen;
    this._select.addEventListener("change", () => {
      this.chosen = this._select.value;
      onChoice(this.chosen);
    });
    navigator.mediaDevices?.addEventListener?.("devicechange", () => {
      if (!this._row.hidden) void this.refresh();
    });
  }

  /** Browsers name devices only after a microphone was permitted. @param {string} [used]  the one that is on */
  async refresh(used) {
    const found = await listMicrophones();
    this._row.hidden = found.length < 2;
    this._select.replaceChildren(...found.map(({ id, label }) =>
      element("option", { text: label, attributes: { value: id } })));
    const shown = used ?? this.chosen;
    if (found.some(({ id }) => id === shown)) this._select.value = shown;
  }
}
