/** How long to wait before the next attempt to connect, and when to stop trying. */

/** Attempts without an answer. */
export const MAX_ATTEMPTS = 12;
/** Times to ask again a server that answers "later": a page may stand in line for a while. */
export const MAX_REFUSALS = 120;
const FIRST_MS = 400;
const CAP_MS = 15_000;

/**
 * Exponential backoff with jitter: half of the delay is fixed, half random, so that the clients
 * of a restarted server do not come back all at once.
 *
 * @param {number} attempt  1 for the first retry
 * @param {() => number} random  in 0..1
 * @param {number} [retryAfterMs]  the server's own wish; never come back earlier
 * @returns {number} milliseconds
 */
export function retryDelayMs(attempt, random, retryAfterMs = 0) {
  const fullMs = Math.min(CAP_MS, FIRST_MS * 2 ** (attempt - 1));
  const backoffMs = fullMs * (0.5 + 0.5 * random());
  return retryAfterMs > 0 ? retryAfterMs * (1 + 0.2 * random()) : backoffMs;
}
