/** The user's camera as a stream of pictures, or a plain reason why there is none. */

import { problemOf } from "./devices.js";

/**
 * @typedef {"insecure" | "unsupported" | "denied" | "missing" | "busy" | "failed" | "unplugged"} WebcamProblem
 */

/** @type {Record<WebcamProblem, {title: string, hint: string}>} */
export const WEBCAM_HELP = {
  insecure: {
    title: "No camera on a plain http address",
    hint: "Browsers give the camera to https and localhost only. Open the page over https or through an ssh tunnel to localhost.",
  },
  unsupported: { title: "This browser has no camera", hint: "Use a current browser." },
  denied: {
    title: "The camera is blocked",
    hint: "Allow the camera for this page in the address bar, then start it again.",
  },
  missing: { title: "No camera found", hint: "Connect one, then start it again." },
  busy: { title: "The camera is in use", hint: "Close the other program that films, then start it again." },
  unplugged: {
    title: "The camera is gone",
    hint: "It was unplugged or taken away. Connect it again or choose another one, then start it.",
  },
  failed: { title: "The camera did not start", hint: "Start it again, or choose another one." },
};

/** Thrown by `Webcam.start`; `problem` is a key of `WEBCAM_HELP`. */
export class WebcamError extends Error {
  /** @param {WebcamProblem} problem */
  constructor(problem) {
    super(WEBCAM_HELP[problem].title);
    this.problem = problem;
  }
}

/** What stands in the way before the user is even asked. @returns {WebcamProblem | null} */
export function webcamObstacle() {
  if (!globalThis.isSecureContext) return "insecure";
  return typeof navigator.mediaDevices?.getUserMedia === "function" ? null : "unsupported";
}

export class Webcam {
  /** @param {() => void} onEnded  the device was unplugged or the permission taken back */
  constructor(onEnded) {
    this._onEnded = onEnded;
    /** @type {MediaStream | null} */
    this._stream = null;
  }

  get on() {
    return this._stream !== null;
  }

  /** @returns {string | undefined} the id of the device that is on */
  get device() {
    return this._stream?.getVideoTracks()[0]?.getSettings().deviceId;
  }

  /**
   * @param {string} device  the id of the one that is wanted, if it is there; empty: the system's choice
   * @param {{width: number, height: number, fps: number}} wanted
   * @returns {Promise<MediaStream>}
   * @throws {WebcamError}
   */
  async start(device, { width, height, fps }) {
    const obstacle = webcamObstacle();
    if (obstacle) throw new WebcamError(obstacle);
    this.stop();
    try {
      const stream = await navigator.mediaDevices.getUserMedia({
        video: {
          width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: fps },
          ...(device ? { deviceId: { ideal: device } } : {}),
        },
      });
      this._stream = stream;
      stream.getVideoTracks()[0].onended = () => this._onEnded();
      return stream;
    } catch (error) {
      throw new WebcamError(problemOf(error));
    }
  }

  stop() {
    this._stream?.getTracks().forEach((track) => {
      track.onended = null;
      track.stop();
    });
    this._stream = null;
  }
}
