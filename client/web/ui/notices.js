/** Short messages that come, are read out, and go. */

import { byId, element } from "./dom.js";

const SHOWN_MS = 6_000;
const MAX_SHOWN = 3;

export class Notices {
  constructor() {
    this._list = byId("notices", HTMLElement);
  }

  /** @param {string} text @param {"info" | "bad"} [tone] */
  show(text, tone = "info") {
    const same = [...this._list.children].find((child) => child.textContent === text);
    same?.remove();
    const notice = element("p", { className: "notice", text, attributes: { "data-tone": tone } });
    this._list.append(notice);
    while (this._list.children.length > MAX_SHOWN) this._list.firstElementChild?.remove();
    setTimeout(() => notice.remove(), SHOWN_MS);
  }
}
