/** What the page's own address says: where the server is, a token, and what to open. */

/** @import { AudioCodec, Codec } from "./messages.js" */
/** @import { SessionWish } from "./connection.js" */
/** @import { TokenStore } from "./storage.js" */

/** @param {string} base  the page's address; a path prefix of a proxy stays */
export function streamUrl(base) {
  const url = new URL("v1/stream", base);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.hash = url.search = "";
  return url.href;
}

/**
 * `?model=&scene=&prompt=&seed=` choose what a new stream starts with.
 *
 * @param {string} search
 * @returns {SessionWish}
 */
export function wishFrom(search) {
  const given = new URLSearchParams(search);
  /** @type {SessionWish} */
  const wish = {};
  for (const name of /** @type {const} */ (["model", "scene", "prompt"])) {
    const value = given.get(name);
    if (value) wish[name] = value;
  }
  const seed = Number(given.get("seed") ?? NaN);
  return Number.isSafeInteger(seed) && seed >= 0 ? { ...wish, seed } : wish;
}

/**
 * `?codec=jpeg` leaves out the codecs before it, to find out whether one is at fault.
 *
 * @param {string} search
 * @param {Codec[]} supported
 */
export function codecsFrom(search, supported) {
  const at = supported.findIndex((codec) => codec === new URLSearchParams(search).get("codec"));
  return at < 0 ? supported : supported.slice(at);
}

/**
 * `?audio=opus` or `?audio=pcm`: how sound goes over the network, if the user wants to say.
 *
 * @param {string} search
 * @returns {AudioCodec | null}
 */
export function soundFrom(search) {
  const wanted = new URLSearchParams(search).get("audio");
  return wanted === "opus" || wanted === "pcm" ? wanted : null;
}

/**
 * A token arrives as `#token=...`, which browsers do not send to servers, and leaves the address bar
 * at once; the tab remembers it.
 *
 * @param {Location} location
 * @param {History} history
 * @param {TokenStore} store
 * @returns {string | null}
 */
export function takeToken(location, history, store) {
  const token = valueIn(location.hash, "token");
  if (token !== null) {
    store.keep(token);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return store.load();
}

/**
 * A share link is `#watch=...`; it stays in the address, so that a reload watches again.
 *
 * @param {string} hash
 * @returns {string | null}
 */
export function watchFrom(hash) {
  return valueIn(hash, "watch");
}

/** @param {string} base  the page's address @param {string} token */
export function watchUrl(base, token) {
  const url = new URL(base);
  url.search = "";
  url.hash = `watch=${token}`;
  return url.href;
}

/**
 * In a fragment a plus is a plus, unlike in a form; what is no percent code stands for itself.
 *
 * @param {string} hash
 * @param {string} name
 * @returns {string | null}
 */
function valueIn(hash, name) {
  const part = hash.slice(1).split("&").find((each) => each.startsWith(`${name}=`));
  if (!part) return null;
  const text = part.slice(name.length + 1);
  try {
    return decodeURIComponent(text).trim() || null;
  } catch {
    return text;
  }
}
