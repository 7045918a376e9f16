/** The user's voice as 20 ms blocks of 16 kHz PCM16, or a plain reason why there is none. */

import { AUDIO_IN_RATE } from "../net/protocol.js";
import { problemOf } from "./devices.js";

/**
 * @typedef {{samples: Int16Array, level: number}} VoiceBlock
 * @typedef {"insecure" | "unsupported" | "denied" | "missing" | "busy" | "failed"
 *   | "unplugged" | "silent"} MicrophoneProblem
 */

/** @type {Record<MicrophoneProblem, {title: string, hint: string}>} */
export const MICROPHONE_HELP = {
  insecure: {
    title: "No microphone on a plain http address",
    hint: "Browsers give the microphone to https and localhost only. Open the page over https or through " +
      "an ssh tunnel to localhost, or play an audio file instead.",
  },
  unsupported: {
    title: "This browser cannot record",
    hint: "It has no AudioWorklet. Use a current browser, or play an audio file instead.",
  },
  denied: {
    title: "The microphone is blocked",
    hint: "Allow the microphone for this page in the address bar, then press Talk again. An audio file works without it.",
  },
  missing: {
    title: "No microphone found",
    hint: "Connect one and press Talk again, or play an audio file instead.",
  },
  busy: {
    title: "The microphone is in use",
    hint: "Close the other program that records, then press Talk again.",
  },
  unplugged: {
    title: "The microphone is gone",
    hint: "It was unplugged or taken away. Connect it again or choose another one, then press Talk.",
  },
  silent: {
    title: "The microphone gives no sound",
    hint: "The system has muted or suspended it: look for a switch, another program or a sleeping headset, " +
      "or choose another one. It goes on by itself when it can.",
  },
  failed: {
    title: "The microphone did not start",
    hint: "Press Talk again, or play an audio file instead.",
  },
};

/** Thrown by `Microphone.start`; `problem` is a key of `MICROPHONE_HELP`. */
export class MicrophoneError extends Error {
  /** @param {MicrophoneProblem} problem */
  constructor(problem) {
    super(MICROPHONE_HELP[problem].title);
    this.problem = problem;
  }
}

/**
 * What stands in the way before the user is even asked; null when nothing does.
 *
 * @returns {MicrophoneProblem | null}
 */
export function microphoneObstacle() {
  if (!globalThis.isSecureContext) return "insecure";
  if (!navigator.mediaDevices?.getUserMedia || !("AudioWorkletNode" in globalThis)) return "unsupported";
  return null;
}

export class Microphone {
  /**
   * @param {(block: VoiceBlock) => void} onBlock
   * @param {() => void} onEnded  the device was unplugged or the permission taken back
   * @param {(silent: boolean) => void} onSilent  the system holds the sound back, or gives it again
   */
  constructor(onBlock, onEnded, onSilent) {
    this._onBlock = onBlock;
    this._onEnded = onEnded;
    this._onSilent = onSilent;
    /** @type {MediaStream | null} */
    this._stream = null;
    /** @type {AudioContext | null} */
    this._context = null;
  }

  get on() {
    return this._stream !== null;
  }

  /** @returns {string | undefined} the id of the device that is on */
  get device() {
    return this._stream?.getAudioTracks()[0]?.getSettings().deviceId;
  }

  /**
   * @param {string} device  the id of the one that is wanted, if it is there; empty: the system's choice
   * @throws {MicrophoneError}
   */
  async start(device) {
    const obstacle = microphoneObstacle();
    if (obstacle) throw new MicrophoneError(obstacle);
    try {
      this._stream = await navigator.mediaDevices.getUserMedia({
        audio: {
          channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true,
          ...(device ? { deviceId: { ideal: device } } : {}),
        },
      });
      await this._listen(this._stream);
    } catch (error) {
      this.stop();
      throw new MicrophoneError(problemOf(error));
    }
  }

  stop() {
    this._stream?.getTracks().forEach((track) => {
      track.onended = track.onmute = track.onunmute = null;
      track.stop();
    });
    if (this._context) this._context.onstatechange = null;
    this._stream = null;
    void this._context?.close();
    this._context = null;
  }

  /** @param {MediaStream} stream */
  async _listen(stream) {
    const { context, source } = openSource(stream);
    this._context = context;
    // before anything is waited for: it may be unplugged meanwhile
    const [track] = stream.getAudioTracks();
    track.onended = () => this._onEnded();
    const look = () => this._onSilent(track.muted || context.state !== "running");
    track.onmute = track.onunmute = look;
    await context.audioWorklet.addModule(new URL("./microphone.worklet.js", import.meta.url));
    const node = new AudioWorkletNode(context, "microphone", { numberOfOutputs: 0 });
    node.port.onmessage = ({ data }) => this._onBlock(data);
    source.connect(node);
    await context.resume();
    context.onstatechange = () => {
      if (context.state === "closed") return;
      look();
      void context.resume().catch(() => {}); // it may have to wait until the system permits it
    };
    if (track.muted) look();
  }
}

/**
 * A 16 kHz context where the browser resamples for us, else (Firefox) one at the device's rate.
 *
 * @param {MediaStream} stream
 */
function openSource(stream) {
  const context = new AudioContext({ sampleRate: AUDIO_IN_RATE, latencyHint: "interactive" });
  try {
    return { context, source: context.createMediaStreamSource(stream) };
  } catch {
    void context.close(); // it refuses to mix rates; the worklet resamples instead
    const native = new AudioContext({ latencyHint: "interactive" });
    return { context: native, source: native.createMediaStreamSource(stream) };
  }
}
