/** The user's voice as 20 ms blocks of 16 kHz PCM16, or a plain reason why there is none. */

import { AUDIO_IN_RATE } from "../net/protocol.js";

/**
 * @typedef {{samples: Int16Array, level: number}} VoiceBlock
 * @typedef {"insecure" | "unsupported" | "denied" | "missing" | "busy" | "failed"} MicrophoneProblem
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
  failed: {
    title: "The microphone did not start",
    hint: "Press Talk again, or play an audio file instead.",
  },
};

/** @type {Record<string, MicrophoneProblem>} */
const PROBLEM_OF_ERROR = {
  NotAllowedError: "denied", SecurityError: "denied", NotFoundError: "missing", OverconstrainedError: "missing",
  NotReadableError: "busy", AbortError: "busy",
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
   */
  constructor(onBlock, onEnded) {
    this._onBlock = onBlock;
    this._onEnded = onEnded;
    /** @type {MediaStream | null} */
    this._stream = null;
    /** @type {AudioContext | null} */
    this._context = null;
  }

  get on() {
    return this._stream !== null;
  }

  /** @throws {MicrophoneError} */
  async start() {
    const obstacle = microphoneObstacle();
    if (obstacle) throw new MicrophoneError(obstacle);
    try {
      this._stream = await navigator.mediaDevices.getUserMedia({
        audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
      });
      await this._listen(this._stream);
    } catch (error) {
      this.stop();
      throw new MicrophoneError(PROBLEM_OF_ERROR[error instanceof DOMException ? error.name : ""] ?? "failed");
    }
  }

  stop() {
    this._stream?.getTracks().forEach((track) => track.stop());
    this._stream = null;
    void this._context?.close();
    this._context = null;
  }

  /** @param {MediaStream} stream */
  async _listen(stream) {
    const { context, source } = openSource(stream);
    this._context = context;
    await context.audioWorklet.addModule(new URL("./microphone.worklet.js", import.meta.url));
    const node = new AudioWorkletNode(context, "microphone", { numberOfOutputs: 0 });
    node.port.onmessage = ({ data }) => this._onBlock(data);
    source.connect(node);
    await context.resume();
    stream.getAudioTracks()[0].onended = () => this._onEnded();
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
