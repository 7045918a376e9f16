/**
 * What the avatar is made to say and what the user hears: microphone, audio file, sound.
 *
 * Sound starts off with the microphone, where loudspeakers would feed back, and on with a file;
 * once the user has chosen, the choice stays.
 */

import { AudioFileError, readAudioFile } from "../input/audio-file.js";
import { Microphone, MicrophoneError, microphoneObstacle } from "../input/microphone.js";
import { DeviceChoice } from "./device-choice.js";

/**
 * @import { MicrophoneProblem } from "../input/microphone.js"
 * @import { Voice } from "../input/voice.js"
 * @import { AudioOut } from "../media/audio-out.js"
 * @import { PreferenceStore } from "../net/storage.js"
 * @import { DockView } from "./dock.js"
 * @import { Notices } from "./notices.js"
 *
 * @typedef {object} SpeechParts
 * @property {Voice} voice
 * @property {AudioOut} audioOut
 * @property {DockView} dock
 * @property {Notices} notices
 * @property {PreferenceStore} preferences
 * @property {() => number} playheadUs
 * @property {() => void} onBlock  a piece of the microphone's sound has passed
 */

export class Speech {
  /** @param {SpeechParts} parts */
  constructor(parts) {
    this._parts = parts;
    this._microphone = new Microphone(
      (block) => this._heard(block), () => this._unplugged(), (silent) => this._setProblem(silent ? "silent" : null),
    );
    this._choice = new DeviceChoice(
      "mic", "audioinput", parts.preferences.get().microphone, (id) => void this._choose(id),
    );
    /** @type {boolean | null} what the user chose, if anything */
    this._soundChoice = null;
    this._recording = false;
    this._starting = false;
    this.sound = false;
    /** @type {string | null} */
    this.fileName = null;
    /** @type {MicrophoneProblem | null} */
    this.problem = microphoneObstacle();
    this.level = 0;
    /** The clock stands still, so speech would only pile up. */
    this.held = false;
    parts.dock.setMicrophoneProblem(this.problem);
  }

  get talking() {
    return this._microphone.on;
  }

  async toggleTalk() {
    if (this._microphone.on) {
      this._stopTalking();
    } else if (!this._starting) {
      this._starting = true;
      await this._startTalking();
      this._starting = false;
    }
  }

  /** @param {File} file */
  async playFile(file) {
    try {
      const samples = await readAudioFile(file);
      if (this._microphone.on) this._stopTalking();
      this._parts.voice.playFile(samples);
      this.fileName = file.name;
      await this._setSound(this._soundChoice ?? true);
    } catch (error) {
      if (!(error instanceof AudioFileError)) throw error;
      this._parts.notices.show(error.message, "bad");
    }
  }

  /** The user interrupts: the rest of the file stays unsaid, what already came stays unheard. */
  interrupt() {
    this._parts.voice.stopFile();
    this._parts.audioOut.duck(true);
    this.fileName = null;
  }

  async toggleSound() {
    this._soundChoice = !this.sound;
    await this._setSound(this._soundChoice);
  }

  /**
   * The recorder takes the sound also while the user has it off.
   *
   * @param {boolean} on
   * @returns {Promise<MediaStreamTrack | null>} the sound to record
   */
  async setRecording(on) {
    this._recording = on;
    await this.useSound();
    return this._parts.audioOut.recordingTrack();
  }

  /** @param {number} queuedMs  speech that waits on the server */
  tick(queuedMs) {
    if (!this.held && this._parts.voice.tick(queuedMs)) this.fileName = null;
    this._parts.dock.setFile(this.fileName, this._parts.voice.fileProgress ?? 1);
  }

  /** The session is over: nothing more is said. */
  stop() {
    if (this._microphone.on) this._stopTalking();
    this._parts.voice.stopFile();
    this.fileName = null;
    this._parts.dock.setFile(null, 1);
  }

  async _startTalking() {
    try {
      await this._microphone.start(this._choice.chosen);
      void this._choice.refresh(this._microphone.device);
      this.problem = null;
      this.fileName = null;
      this._parts.voice.stopFile();
      if (this._soundChoice === null) await this._setSound(false);
    } catch (error) {
      if (!(error instanceof MicrophoneError)) throw error;
      this.problem = error.problem;
    }
    this._parts.dock.setMicrophoneProblem(this.problem);
    this._parts.dock.setTalking(this._microphone.on);
  }

  /** The device went while it was in use: what else there is may be chosen. */
  _unplugged() {
    this._stopTalking();
    this._setProblem("unplugged");
    void this._choice.refresh();
  }

  /** @param {MicrophoneProblem | null} problem */
  _setProblem(problem) {
    this.problem = problem;
    this._parts.dock.setMicrophoneProblem(problem);
  }

  /** Another microphone, at once if one is on. @param {string} id */
  async _choose(id) {
    this._parts.preferences.update({ microphone: id });
    if (this._microphone.on) this._stopTalking();
    else if (this.problem !== "unplugged") return;
    await this.toggleTalk();
  }

  _stopTalking() {
    if (this.problem === "silent") this._setProblem(null);
    this._microphone.stop();
    this._parts.voice.end();
    this._parts.dock.setTalking(false);
    this.level = 0;
  }

  /** @param {{samples: Int16Array, level: number}} block */
  _heard({ samples, level }) {
    this.level = level;
    this._parts.dock.setLevel(level);
    if (!this.held) this._parts.voice.send(samples);
    this._parts.onBlock();
  }

  /** @param {boolean} on */
  async _setSound(on) {
    this.sound = on;
    this._parts.dock.setSound(on);
    await this.useSound();
  }

  /** Play for whoever listens; a new stream may need the sound to be opened anew. */
  async useSound() {
    const use = { heard: this.sound, recorded: this._recording };
    await this._parts.audioOut.use(use, this._parts.playheadUs());
  }
}
