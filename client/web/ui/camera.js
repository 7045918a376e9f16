/** Moving the camera: keys anywhere on the page but in text, and buttons to hold for fingers. */

import { CameraKeys } from "../input/camera-keys.js";
import { takesText } from "../input/shortcuts.js";
import { byId, setText } from "./dom.js";

/**
 * @import { CameraInput } from "../net/messages.js"
 * @import { Motion } from "../input/camera-keys.js"
 *
 * @typedef {object} CameraActions
 * @property {(motion: Motion) => void} onMotion
 * @property {() => boolean} singleKeys  letters work outside the picture
 */

/** What a click without a press moves for, as from a screen reader or a switch. */
const NUDGE_MS = 400;
const KEYBOARD = "keyboard";
/** Here arrows have a meaning of their own. */
const OWN_ARROWS = "input, select, summary, [role=radiogroup], [role=toolbar]";

export class CameraView {
  /** @param {CameraActions} actions */
  constructor({ onMotion, singleKeys }) {
    this._singleKeys = singleKeys;
    this._stage = byId("stage", HTMLElement);
    this._pads = byId("camera-pads", HTMLElement);
    this._buttons = [...this._pads.querySelectorAll("button")];
    this._speedText = byId("camera-speed-text", HTMLOutputElement);
    /** @type {CameraInput["kind"] | undefined} undefined: the model has no camera */
    this._kind = undefined;
    this._arrowsTaken = false;
    this.enabled = false;
    this.keys = new CameraKeys((motion) => {
      this._showHeld();
      if (this.enabled) onMotion(motion);
    });
    this._buttons.forEach((button) => this._listenTo(button));
    this._listenToSpeed(byId("camera-speed", HTMLInputElement));
    // before everybody else: with a camera, S goes back and saves no picture
    document.addEventListener("keydown", (event) => this._down(event), { capture: true });
    document.addEventListener("keyup", (event) => this.keys.release(event.code, KEYBOARD));
    document.addEventListener("focusin", (event) => {
      if (takesText(event.target)) this.keys.releaseAll();
    });
    document.addEventListener("visibilitychange", () => this.keys.releaseAll());
    window.addEventListener("blur", () => this.keys.releaseAll());
  }

  /** @param {CameraInput | null} camera  null: the model has none @param {boolean} tracks  it has things to hold */
  setCamera(camera, tracks) {
    this._arrowsTaken = tracks;
    if (camera?.kind === this._kind) return; // who holds a key through a lost connection goes on
    this._kind = camera?.kind;
    this.keys.releaseAll();
    this.keys.kind = camera?.kind ?? "6dof";
    for (const button of this._buttons) button.hidden = camera !== null && !this.keys.takes(codeOf(button));
  }

  /** A stream that goes on may still be told to move. */
  restate() {
    if (this.enabled) this.keys.restate();
  }

  /** @param {KeyboardEvent} event */
  _down(event) {
    if (!this.enabled || !this._meant(event)) return;
    event.preventDefault();
    if (!event.repeat) this.keys.press(event.code, KEYBOARD);
  }

  /** @param {KeyboardEvent} event */
  _meant({ code, target, ctrlKey, metaKey, altKey }) {
    if (ctrlKey || metaKey || altKey || !this.keys.takes(code)) return false;
    if (takesText(target) || document.querySelector("dialog[open]")) return false;
    const inPicture = target === this._stage;
    if (code.startsWith("Key")) return inPicture || this._singleKeys();
    if (inPicture) return !this._arrowsTaken; // there they move the cursor
    return !(target instanceof Element && target.closest(OWN_ARROWS));
  }

  /** @param {HTMLButtonElement} button */
  _listenTo(button) {
    const code = codeOf(button);
    let held = false;
    /** @param {string} by */
    const press = (by) => {
      held = true;
      this.keys.press(code, by);
    };
    button.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      button.setPointerCapture(event.pointerId);
      press(`pointer ${event.pointerId}`);
    });
    for (const type of /** @type {const} */ (["pointerup", "pointercancel", "lostpointercapture"])) {
      button.addEventListener(type, (event) => this.keys.release(code, `pointer ${event.pointerId}`));
    }
    button.addEventListener("contextmenu", (event) => event.preventDefault());
    button.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      if (!event.repeat) press("button");
    });
    button.addEventListener("keyup", () => this.keys.release(code, "button"));
    button.addEventListener("blur", () => this.keys.release(code, "button"));
    button.addEventListener("click", () => {
      if (!held) this._nudge(code);
      held = false;
    });
  }

  /** @param {string} code */
  _nudge(code) {
    this.keys.press(code, "nudge");
    setTimeout(() => this.keys.release(code, "nudge"), NUDGE_MS);
  }

  /** @param {HTMLInputElement} slider  of powers of two */
  _listenToSpeed(slider) {
    slider.addEventListener("input", () => {
      this.keys.speed = 2 ** Number(slider.value);
      setText(this._speedText, `${this.keys.speed.toFixed(2).replace(/\.?0+$/, "")}×`);
    });
  }

  _showHeld() {
    for (const button of this._buttons) button.classList.toggle("held", this.keys.holds(codeOf(button)));
  }
}

/** @param {HTMLElement} button */
function codeOf(button) {
  return button.dataset.move ?? "";
}
