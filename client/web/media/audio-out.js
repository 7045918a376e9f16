/**
 * The stream's sound: a queue of PCM played in step with the picture.
 *
 * While it plays, `positionUs` is the master clock of the player. Browsers keep AudioWorklet from
 * insecure origins; there the same PCM is scheduled with buffer sources (`ScheduledSound`).
 */

import { ScheduledSound } from "./scheduled-sound.js";

/**
 * @import { Piece } from "./sound-decoder.js"
 *
 * @typedef {{ptsUs: number, at: number}} Reached  media time at a moment of the audio clock
 * @typedef {object} Sound
 * @property {(ptsUs: number, samples: Float32Array<ArrayBuffer>) => void} push
 * @property {() => void} clear
 * @property {(onReached: (reached: Reached) => void) => void} report
 */

const FADE_S = 0.02;
const STALE_S = 0.25;
const KEEP_S = 3;

export class AudioOut {
  constructor() {
    /** @type {AudioContext | null} */
    this._context = null;
    /** @type {Sound | null} */
    this._sound = null;
    /** @type {GainNode | null} silences an interrupted sentence */
    this._duck = null;
    /** @type {GainNode | null} what the user hears; the recorder listens before it */
    this._speaker = null;
    /** @type {MediaStreamAudioDestinationNode | null} for the recorder */
    this._tap = null;
    /** @type {Reached | null} */
    this._reached = null;
    /** @type {Piece[]} what came lately, so that sound can begin in the middle of what is shown */
    this._recent = [];
    this.on = false;
    this._sampleRate = 16_000;
    /** @type {HTMLVideoElement | null} plays the sound of a WebRTC peer, in place of all this */
    this._element = null;
    /** Called whenever the sound moves on, also in a hidden tab. */
    this.onProgress = () => {};
  }

  /**
   * Play for the user, for the recorder, for both or not at all. The first call that plays must come
   * from a user's gesture, or the browser stays silent.
   *
   * @param {{heard: boolean, recorded: boolean}} use
   * @param {number} fromUs  media time on screen, where sound begins
   */
  async use({ heard, recorded }, fromUs) {
    const wanted = heard || recorded;
    if (this._element) {
      this.on = wanted;
      this._element.muted = !heard;
      // without a gesture a browser plays silently only
      await this._element.play().catch(() => this._playSilently());
      return;
    }
    if (wanted && !this._context) await this._build();
    if (this._speaker) this._speaker.gain.value = heard ? 1 : 0;
    if (wanted === this.on) return;
    this.on = wanted;
    this._reached = null;
    this._sound?.clear();
    if (wanted) {
      this._recent.forEach((piece) => this._play(piece, fromUs));
      void this._context?.resume(); // settles only after a gesture, so nobody waits for it
    } else {
      void this._context?.suspend();
    }
  }

  /** Sound comes with a picture, which the browser keeps together; null: as pieces. @param {HTMLVideoElement | null} element */
  useElement(element) {
    if (element === this._element) return;
    this.on = false;
    this._element = element;
    if (element) void this._context?.suspend();
  }

  /** Another model may speak at another rate. @param {number} rate */
  setSampleRate(rate) {
    if (rate === this._sampleRate) return;
    this._sampleRate = rate;
    void this._context?.close();
    this._context = this._sound = null;
    this.on = false;
  }

  /** @param {boolean} paused  media time stands still, so the sound does */
  setPaused(paused) {
    if (this.on && !this._element) void (paused ? this._context?.suspend() : this._context?.resume());
  }

  /** @param {Piece} piece */
  push(piece) {
    this._recent.push(piece);
    while (this._recent[0].ptsUs < piece.ptsUs - KEEP_S * 1e6) this._recent.shift();
    if (this.on) this._play(piece);
  }

  /** A new stream starts: nothing of the old one may sound. */
  clear() {
    this._recent = [];
    this._reached = null;
    this._sound?.clear();
  }

  /** @param {boolean} silent  hide the rest of an interrupted sentence */
  duck(silent) {
    if (this._element) this._element.volume = silent ? 0 : 1;
    if (this._context) this._duck?.gain.setTargetAtTime(silent ? 0 : 1, this._context.currentTime, FADE_S);
  }

  /** Media time that is heard now, or null while nothing sounds (then the page clock leads). */
  positionUs() {
    if (!this.on || !this._context || !this._reached || this._context.state !== "running") return null;
    const sinceS = this._context.currentTime - this._reached.at;
    if (sinceS > STALE_S) return null;
    return this._reached.ptsUs + (sinceS - (this._context.outputLatency || 0)) * 1e6;
  }

  /** @returns {MediaStreamTrack | null} what is played, for a recording */
  recordingTrack() {
    const stream = this._element?.srcObject;
    if (stream instanceof MediaStream) return stream.getAudioTracks()[0] ?? null;
    return this._tap?.stream.getAudioTracks()[0] ?? null;
  }

  _playSilently() {
    if (!this._element) return;
    this._element.muted = true;
    void this._element.play().catch(() => {});
  }

  /** @param {Piece} piece @param {number} [fromUs]  leave out what is before it */
  _play({ ptsUs, samples }, fromUs = 0) {
    const skipped = Math.max(0, Math.round(((fromUs - ptsUs) * this._sampleRate) / 1e6));
    const rest = samples.slice(skipped); // its own, since it is handed over
    if (rest.length > 0) this._sound?.push(ptsUs + (skipped * 1e6) / this._sampleRate, rest);
  }

  async _build() {
    const context = new AudioContext({ sampleRate: this._sampleRate, latencyHint: "interactive" });
    const duck = new GainNode(context);
    const speaker = new GainNode(context);
    const tap = new MediaStreamAudioDestinationNode(context, { channelCount: 1 });
    duck.connect(speaker).connect(context.destination);
    duck.connect(tap);
    const sound = "audioWorklet" in context ? await openWorkletSound(context, duck) : new ScheduledSound(context, duck);
    sound.report((reached) => {
      this._reached = reached;
      this.onProgress();
    });
    this._context = context;
    this._duck = duck;
    this._speaker = speaker;
    this._tap = tap;
    this._sound = sound;
  }
}

/**
 * @param {AudioContext} context
 * @param {AudioNode} target
 * @returns {Promise<Sound>}
 */
async function openWorkletSound(context, target) {
  await context.audioWorklet.addModule(new URL("./audio-out.worklet.js", import.meta.url));
  const node = new AudioWorkletNode(context, "audio-out", { numberOfInputs: 0, outputChannelCount: [1] });
  node.connect(target);
  return {
    push: (ptsUs, samples) => node.port.postMessage({ type: "push", ptsUs, samples }, [samples.buffer]),
    clear: () => node.port.postMessage({ type: "clear" }),
    report: (onReached) => {
      node.port.onmessage = ({ data }) => onReached(data);
    },
  };
}
