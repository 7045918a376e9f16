/** The row of buttons for speech and playback, the level meter and the microphone's excuses. */

import { MICROPHONE_HELP } from "../input/microphone.js";
import { button, byId, setIcon, setLabel, setPressed, setText } from "./dom.js";

/**
 * @import { MicrophoneProblem } from "../input/microphone.js"
 *
 * @typedef {object} DockActions
 * @property {() => void} onTalk
 * @property {(file: File) => void} onFile
 * @property {() => void} onInterrupt
 * @property {() => void} onSound
 * @property {() => void} onPause
 */

/** Levels below this many dB show as nothing. */
const QUIET_DB = -50;

export class DockView {
  /** @param {DockActions} actions */
  constructor(actions) {
    this._talk = button("talk");
    this._sound = button("sound");
    this._pause = button("pause");
    this._fileInput = byId("file-input", HTMLInputElement);
    this._meter = byId("meter", HTMLElement);
    this._meterFill = byId("meter-fill", HTMLElement);
    this._progress = byId("file-progress", HTMLElement);
    this._progressBar = byId("file-bar", HTMLProgressElement);
    this._micHelp = byId("mic-help", HTMLElement);
    this._received = byId("chip-received", HTMLElement);
    this._talking = byId("chip-talking", HTMLElement);
    this._talk.addEventListener("click", actions.onTalk);
    this._sound.addEventListener("click", actions.onSound);
    this._pause.addEventListener("click", actions.onPause);
    button("interrupt").addEventListener("click", actions.onInterrupt);
    button("file").addEventListener("click", () => this._fileInput.click());
    this._fileInput.addEventListener("change", () => {
      const file = this._fileInput.files?.[0];
      this._fileInput.value = "";
      if (file) actions.onFile(file);
    });
  }

  /** @param {boolean} stream  there is one  @param {boolean} audio  and its model hears and speaks */
  setUsable(stream, audio) {
    for (const id of ["talk", "file", "interrupt", "sound"]) button(id).disabled = !stream || !audio;
    this._pause.disabled = !stream;
  }

  /** @param {boolean} on */
  setTalking(on) {
    setPressed(this._talk, on);
    setIcon(this._talk, on ? "stop" : "mic");
    setText(byId("talk-label", HTMLElement), on ? "Stop" : "Talk");
    this._meter.hidden = !on;
    this.setLevel(0);
  }

  /** @param {number} rms  0..1 */
  setLevel(rms) {
    const db = 20 * Math.log10(Math.max(rms, 1e-6));
    const share = Math.max(0, Math.min(1, 1 - db / QUIET_DB));
    this._talk.style.setProperty("--level", share.toFixed(3));
    this._meterFill.style.setProperty("--level", share.toFixed(3));
    this._meter.setAttribute("aria-valuenow", String(Math.round(share * 100)));
  }

  /** @param {MicrophoneProblem | null} problem */
  setMicrophoneProblem(problem) {
    this._micHelp.hidden = problem === null;
    this._talk.classList.toggle("unavailable", problem !== null);
    if (problem === null) return;
    setText(byId("mic-help-title", HTMLElement), MICROPHONE_HELP[problem].title);
    setText(byId("mic-help-hint", HTMLElement), MICROPHONE_HELP[problem].hint);
  }

  /** @param {string | null} name @param {number} progress  0..1 */
  setFile(name, progress) {
    this._progress.hidden = name === null;
    setText(byId("file-name", HTMLElement), name ?? "");
    this._progressBar.value = progress;
  }

  /** @param {boolean} on */
  setSound(on) {
    setPressed(this._sound, on);
    setIcon(this._sound, on ? "sound" : "muted");
    setLabel(this._sound, on ? "Sound on" : "Sound off");
  }

  /** @param {boolean} paused */
  setPaused(paused) {
    setPressed(this._pause, paused);
    setIcon(this._pause, paused ? "play" : "pause");
    setLabel(this._pause, paused ? "Go on" : "Pause");
  }

  /** @param {{received: boolean, talking: boolean}} state */
  setSpeech({ received, talking }) {
    this._received.dataset.on = String(received);
    this._talking.dataset.on = String(talking);
  }
}
