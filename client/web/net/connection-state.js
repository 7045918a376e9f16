/** How a connection is, for whoever shows it. */

/**
 * @typedef {"connecting" | "queued" | "live" | "reconnecting" | "refused" | "ended"} Phase
 *
 * @typedef {object} ConnectionState
 * @property {Phase} phase
 * @property {number} attempt            0 while the first attempt runs
 * @property {number | null} position    in the line of those who wait for a place, 1 for the first
 * @property {number | null} etaS        in how many seconds the turn should come, where the server knows
 * @property {number | null} retryAtMs   on the page clock; null: no retry is planned
 * @property {string | null} code        why it is not live: a code of the protocol, or of this page
 * @property {string | null} message
 * @property {string | null} hint
 */

export const NO_REASON = Object.freeze({ position: null, etaS: null, retryAtMs: null, code: null, message: null, hint: null });
