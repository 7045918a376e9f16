/** What to tell the user about the connection: one line for the pill, more when it is not live. */

/**
 * @import { ConnectionState } from "../net/connection-state.js"
 *
 * @typedef {"calm" | "live" | "warn" | "bad"} Tone
 * @typedef {"retry" | "start" | "token" | "takeover" | "image"} Hint
 * @typedef {object} Status
 * @property {string} state    for tests and styling: connecting, live, paused, ...
 * @property {Tone} tone
 * @property {string} label    the pill; it may count seconds
 * @property {string | null} title   the curtain over the picture; null: no curtain
 * @property {string | null} detail
 * @property {Hint | null} hint      what the button on the curtain does
 *
 * @typedef {{opened: boolean, paused: boolean, draining: boolean, restarting?: boolean, stalled: boolean}} StreamCondition
 *   `opened`: there was a stream before
 */

/** @type {Record<string, {title: string, label: string, hint: Hint | null}>} */
const REFUSALS = {
  capacity: { label: "In line", title: "No place is free yet", hint: "retry" },
  draining: { label: "Restarting", title: "The server is restarting", hint: "retry" },
  engine_failed: { label: "Model failed", title: "The model stopped", hint: "retry" },
  timeout: { label: "Timed out", title: "The connection went quiet", hint: "retry" },
  rate_limited: { label: "Slow down", title: "Too many messages", hint: "retry" },
  unauthorized: { label: "Token needed", title: "This server wants a token", hint: "token" },
  forbidden_origin: { label: "Not allowed", title: "This address may not connect", hint: "retry" },
  replaced: { label: "Open elsewhere", title: "This stream is open in another tab", hint: "takeover" },
  no_socket: { label: "No connection", title: "A WebSocket does not get through", hint: "retry" },
  image_wanted: { label: "Image wanted", title: "It starts from an image", hint: "image" },
  watch_over: { label: "Over", title: "The stream is over", hint: null },
  link_over: { label: "Link over", title: "This link is not good any more", hint: null },
  unreachable: { label: "No server", title: "The server does not answer", hint: "retry" },
};

/** Nothing is wrong. */
const CALM = new Set(["image_wanted", "watch_over"]);
/** In place of the hints that the server gives to programs. */
const ASK_FOR_TOKEN = "Ask whoever runs the server for one.";
const BRING_IMAGE = "Choose one, drop it here or paste it.";
/** Of these the hint says more than the message. */
const HINTED = new Set(["replaced", "no_socket", "link_over"]);
/** Of these the title says all. */
const TOLD = new Set(["capacity", "image_wanted", "watch_over"]);

/**
 * @param {ConnectionState} connection
 * @param {StreamCondition} stream
 * @param {number} nowMs
 * @returns {Status}
 */
export function describeStatus(connection, stream, nowMs) {
  const waitS = connection.retryAtMs === null ? null : Math.max(0, Math.ceil((connection.retryAtMs - nowMs) / 1000));
  if (connection.phase === "live") return describeLive(stream);
  if (connection.phase === "ended") {
    return {
      state: "ended", tone: "calm", label: "Ended", title: "The stream has ended",
      detail: "Its place on the server is free again.", hint: "start",
    };
  }
  if (connection.phase === "refused") return describeRefused(connection, waitS);
  if (connection.phase === "queued") return describeQueued(connection);
  if (connection.phase === "connecting") {
    return { state: "connecting", tone: "calm", label: "Connecting", title: "Connecting…", detail: null, hint: null };
  }
  return describeReconnecting(connection, stream, waitS);
}

/** @param {ConnectionState} connection @returns {Status} */
function describeQueued({ position, etaS }) {
  const turn = ordinal(position ?? 1);
  return {
    state: "queued", tone: "calm", label: `In line · ${turn}`,
    title: `You are ${turn}${etaS === null ? " in line" : `, ${about(etaS)}`}`,
    detail: "All places are taken. Your stream starts by itself.", hint: null,
  };
}

/** @param {number} count */
function ordinal(count) {
  const teen = count % 100 > 10 && count % 100 < 20;
  return `${count}${(teen ? null : { 1: "st", 2: "nd", 3: "rd" }[count % 10]) ?? "th"}`;
}

/** @param {number} seconds */
function about(seconds) {
  return seconds < 90 ? `about ${Math.max(5, 5 * Math.round(seconds / 5))} s` : `about ${Math.round(seconds / 60)} min`;
}

/**
 * @param {ConnectionState} connection
 * @param {StreamCondition} stream
 * @param {number | null} waitS
 * @returns {Status}
 */
function describeReconnecting(connection, { opened }, waitS) {
  const { message, hint: cure } = connection;
  const what = opened ? "Reconnecting" : "Connecting";
  const attempt = `attempt ${connection.attempt}`;
  return {
    state: "reconnecting", tone: "warn",
    label: waitS ? `${what} in ${waitS} s · ${attempt}` : `${what} · ${attempt}`,
    title: message ?? (opened ? "The connection was lost" : "The server does not answer yet"),
    detail: cure ?? (opened ? "Your stream is kept for a while and goes on from here." : "It may still be starting."),
    hint: "retry",
  };
}

/** @param {StreamCondition} stream @returns {Status} */
function describeLive({ paused, draining, restarting, stalled }) {
  const plain = { title: null, detail: null, hint: null };
  if (draining) return { ...plain, state: "draining", tone: "warn", label: "Server restarts soon" };
  if (paused) return { ...plain, state: "paused", tone: "calm", label: "Paused" };
  if (stalled && restarting) return { ...plain, state: "restarting", tone: "warn", label: "Model restarts" };
  if (stalled) return { ...plain, state: "waiting", tone: "warn", label: "Waiting for frames" };
  return { ...plain, state: "live", tone: "live", label: "Live" };
}

/**
 * @param {ConnectionState} connection
 * @param {number | null} waitS
 * @returns {Status}
 */
function describeRefused({ code, message, hint }, waitS) {
  const known = REFUSALS[code ?? ""] ?? { label: "Refused", title: "The server refused", hint: "retry" };
  const retry = waitS === null ? null : `Next attempt in ${waitS} s.`;
  // Who waits wants to know for what: the model to load, or another user to leave.
  const title = (code === "capacity" || code === "no_socket") && message ? sentenceCase(message) : known.title;
  const reason = HINTED.has(code ?? "") ? hint : (message ?? hint);
  const cure = code === "unauthorized" ? ASK_FOR_TOKEN : code === "image_wanted" ? BRING_IMAGE : null;
  return {
    state: "refused", tone: code === "capacity" ? "warn" : CALM.has(code ?? "") ? "calm" : "bad",
    label: waitS === null ? known.label : `${known.label} · ${waitS} s`,
    title,
    detail: [TOLD.has(code ?? "") ? null : reason && sentence(reason), cure, retry].filter(Boolean).join(" ") || null,
    hint: known.hint,
  };
}

/** @param {string} text */
export function sentenceCase(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** @param {string} text  with a capital and a full stop */
export function sentence(text) {
  return sentenceCase(text).replace(/[.?!]?$/, (end) => end || ".");
}

/** The queue can only overflow where voice comes in faster than pictures go out. */
const OVERFLOW = "The picture cannot keep up with the voice: what was said last is left out.";

/** What the server said of a mistake. @param {{code: string, message: string, hint?: string | null}} said */
export function inWords({ code, message, hint }) {
  if (code === "audio_overflow") return OVERFLOW;
  return [sentence(message), hint].filter(Boolean).join(" ");
}
