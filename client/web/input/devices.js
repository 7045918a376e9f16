/** Microphones and cameras alike: which there are, and why the browser gives none. */

/** What an error of getUserMedia is to the user. @type {Record<string, "denied" | "missing" | "busy">} */
const PROBLEM_OF_ERROR = {
  NotAllowedError: "denied", SecurityError: "denied", NotFoundError: "missing", OverconstrainedError: "missing",
  NotReadableError: "busy", AbortError: "busy",
};

/** @param {unknown} error  of getUserMedia @returns {"denied" | "missing" | "busy" | "failed"} */
export function problemOf(error) {
  return PROBLEM_OF_ERROR[error instanceof DOMException ? error.name : ""] ?? "failed";
}

/**
 * @param {"audioinput" | "videoinput"} wanted
 * @returns {Promise<{id: string, label: string}[]>} those that can be told apart
 */
export async function listDevices(wanted) {
  try {
    const devices = await navigator.mediaDevices.enumerateDevices();
    const found = devices.filter(({ kind, deviceId, label }) => kind === wanted && deviceId && label);
    return found.map(({ deviceId, label }) => ({ id: deviceId, label }));
  } catch {
    return [];
  }
}
