/** The choice among several microphones or cameras; hidden while there is nothing to choose. */

import { listDevices } from "../input/devices.js";
import { byId, element } from "./dom.js";

export class DeviceChoice {
  /**
   * @param {"mic" | "webcam"} id  what its elements' ids begin with
   * @param {"audioinput" | "videoinput"} kind
   * @param {string} chosen  id of the device used before, or empty
   * @param {(id: string) => void} onChoice
   * @param {() => string | undefined} [used]  the id of the one that is on
   */
  constructor(id, kind, chosen, onChoice, used = () => undefined) {
    this._row = byId(`${id}-choice`, HTMLElement);
    this._select = byId(`${id}-device`, HTMLSelectElement);
    this._kind = kind;
    this._used = used;
    this.chosen = chosen;
    this._select.addEventListener("change", () => {
      this.chosen = this._select.value;
      onChoice(this.chosen);
    });
    navigator.mediaDevices?.addEventListener?.("devicechange", () => {
      if (!this._row.hidden) void this.refresh();
    });
  }

  /** Browsers name devices only after one was permitted. @param {string} [used]  the one that is on */
  async refresh(used = this._used()) {
    const found = await listDevices(this._kind);
    this._row.hidden = found.length < 2;
    this._select.replaceChildren(...found.map(({ id, label }) =>
      element("option", { text: label, attributes: { value: id } })));
    const shown = used ?? this.chosen;
    if (found.some(({ id }) => id === shown)) this._select.value = shown;
  }
}
