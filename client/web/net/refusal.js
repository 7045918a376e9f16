/** Why a connection is not there, and whether it is worth coming back. */

/** @import { ErrorMessage } from "./messages.js" */

/** The session is gone; another can be opened. */
const LOST_SESSION = new Set(["unknown_session", "wrong_resume_token", "session_expired"]);
/** It passes: try again later. */
const PASSES = new Set(["capacity", "draining", "engine_failed", "timeout", "rate_limited"]);
/** @type {Record<number, string>} */
const CODE_OF_CLOSE = {
  4401: "unauthorized", 4403: "forbidden_origin", 4408: "timeout", 4409: "replaced", 4410: "ended",
  4429: "capacity", 4500: "engine_failed", 4503: "draining",
};

/**
 * @typedef {object} Loss
 * @property {string | null} code     a code of the protocol; null when nothing was said
 * @property {string | null} message
 * @property {string | null} hint
 * @property {boolean} passes         false: only the user can help
 * @property {boolean} refused        the server said no, rather than vanished
 * @property {number} retryAfterMs    0 when the server named no time
 */

/** @param {string} code */
export function isLostSession(code) {
  return LOST_SESSION.has(code);
}

/**
 * @param {ErrorMessage | null} fatal  the last fatal error on the socket
 * @param {number} closeCode           of the socket
 * @returns {Loss}
 */
export function explainLoss(fatal, closeCode) {
  const code = fatal?.code ?? CODE_OF_CLOSE[closeCode] ?? null;
  return {
    code,
    message: fatal?.message ?? null,
    hint: fatal?.hint ?? null,
    passes: code === null || PASSES.has(code) || LOST_SESSION.has(code),
    refused: code !== null && !LOST_SESSION.has(code),
    retryAfterMs: (fatal?.retry_after_s ?? 0) * 1000,
  };
}

/**
 * The same for who watches by a share link: that the stream has ended, or the link is not good any more, does not pass.
 *
 * @param {ErrorMessage | null} fatal
 * @param {number} closeCode
 * @returns {Loss}
 */
export function explainWatchersLoss(fatal, closeCode) {
  const loss = explainLoss(fatal, closeCode);
  const over = loss.code === "ended" ? "watch_over" : null;
  const gone = loss.code === "unauthorized" || isLostSession(loss.code ?? "") ? "link_over" : null;
  const code = over ?? gone;
  return code === null ? loss : { ...loss, code, passes: false, refused: true };
}
