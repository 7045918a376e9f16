/** The user's camera for a model that looks at video: start, stop, choose, and what went wrong. */

import { FrameSender } from "../input/frame-sender.js";
import { Webcam, WEBCAM_HELP, WebcamError } from "../input/webcam.js";
import { DeviceChoice } from "./device-choice.js";
import { button, byId, setIcon, setLabel, setPressed, setText } from "./dom.js";

/**
 * @import { FrameLink } from "../input/frame-sender.js"
 * @import { WebcamProblem } from "../input/webcam.js"
 * @import { VideoInput } from "../net/messages.js"
 * @import { PreferenceStore } from "../net/storage.js"
 */

export class WebcamView {
  /** @param {FrameLink} link @param {PreferenceStore} preferences */
  constructor(link, preferences) {
    this._preferences = preferences;
    this._toggle = button("webcam-toggle");
    this._preview = byId("webcam-preview", HTMLVideoElement);
    this._help = byId("webcam-help", HTMLElement);
    this._webcam = new Webcam(() => this._unplugged());
    this.sender = new FrameSender(link);
    this._devices = new DeviceChoice(
      "webcam", "videoinput", preferences.get().webcam, (id) => void this._choose(id), () => this._webcam.device,
    );
    /** @type {VideoInput | null} null: this model looks at nothing */
    this._input = null;
    this._starting = false;
    /** @type {WebcamProblem | null} */
    this.problem = null;
    this._toggle.addEventListener("click", () => void this.toggle());
  }

  get on() {
    return this._webcam.on;
  }

  /** @param {VideoInput | null} input */
  setInput(input) {
    if (JSON.stringify(input) === JSON.stringify(this._input)) return;
    this.stop();
    this._input = input;
    if (input) this._preview.style.aspectRatio = String(input.width / input.height);
  }

  /** @param {boolean} usable  there is a stream */
  setUsable(usable) {
    this._toggle.disabled = !usable && !this.on;
  }

  async toggle() {
    if (this.on) {
      this.stop();
    } else if (!this._starting) {
      this._starting = true;
      await this._start();
      this._starting = false;
    }
  }

  stop() {
    this._webcam.stop();
    this.sender.stop();
    this._preview.srcObject = null;
    this._show();
  }

  async _start() {
    if (!this._input) return;
    try {
      this._preview.srcObject = await this._webcam.start(this._devices.chosen, this._input);
      this.problem = null;
      await this._preview.play().catch(() => {}); // it plays once it may
      if (this.on) this.sender.start(this._preview, this._input);
      void this._devices.refresh();
    } catch (error) {
      if (!(error instanceof WebcamError)) throw error;
      this.problem = error.problem;
    }
    this._show();
  }

  /** The device went while it was in use: what else there is may be chosen. */
  _unplugged() {
    this.problem = "unplugged";
    this.stop();
    void this._devices.refresh();
  }

  /** Another camera, at once if one is on or was. @param {string} id */
  async _choose(id) {
    this._preferences.update({ webcam: id });
    if (!this.on && this.problem !== "unplugged") return;
    this.stop();
    await this.toggle();
  }

  _show() {
    setPressed(this._toggle, this.on);
    setIcon(this._toggle, this.on ? "stop" : "camera");
    setLabel(this._toggle, this.on ? "Stop the camera" : "Start the camera");
    this._preview.hidden = !this.on;
    this._help.hidden = this.problem === null;
    if (this.problem === null) return;
    setText(byId("webcam-help-title", HTMLElement), WEBCAM_HELP[this.problem].title);
    setText(byId("webcam-help-hint", HTMLElement), WEBCAM_HELP[this.problem].hint);
  }
}
