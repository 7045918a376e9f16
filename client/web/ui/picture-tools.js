/** The buttons beside the picture: record, save, full screen. */

import { download, Recorder } from "../media/recorder.js";
import { button, byId, setPressed, setText } from "./dom.js";

/**
 * @import { Stage } from "../media/stage.js"
 * @import { Notices } from "./notices.js"
 *
 * @typedef {object} PictureParts
 * @property {Stage} stage
 * @property {Notices} notices
 * @property {(on: boolean) => Promise<MediaStreamTrack | null>} useSound  take the sound for a recording
 * @property {() => number} fps
 * @property {() => number} nowMs
 */

export class PictureTools {
  /** @param {PictureParts} parts */
  constructor(parts) {
    this._parts = parts;
    this._button = button("record");
    this._badge = byId("recording", HTMLElement);
    this._time = byId("recording-time", HTMLElement);
    this.recorder = new Recorder((file, extension) => download(file, fileName(extension)), parts.nowMs);
    this._button.addEventListener("click", () => void this.toggleRecording());
    button("screenshot").addEventListener("click", () => void this.saveScreenshot());
    button("fullscreen").addEventListener("click", () => this.toggleFullScreen());
  }

  async toggleRecording() {
    if (this.recorder.on) {
      this.recorder.stop();
      await this._parts.useSound(false);
    } else if (Recorder.format() === null) {
      this._parts.notices.show("This browser cannot record.", "bad");
    } else {
      const sound = await this._parts.useSound(true);
      this.recorder.start(this._parts.stage.shown, this._parts.fps(), sound);
    }
    setPressed(this._button, this.recorder.on);
    this.tick();
  }

  async saveScreenshot() {
    const picture = await this._parts.stage.screenshot();
    if (picture) download(picture, fileName("png"));
  }

  toggleFullScreen() {
    const set = byId("stage", HTMLElement);
    if (document.fullscreenElement) void document.exitFullscreen();
    else void set.requestFullscreen?.();
  }

  /** Show how long the recording is. */
  tick() {
    this._badge.hidden = !this.recorder.on;
    const seconds = Math.floor(this.recorder.lengthS());
    setText(this._time, `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`);
  }
}

/** @param {string} extension */
function fileName(extension) {
  return `rollcast-${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}.${extension}`;
}
