/** Why a WebSocket's handshake fails: browsers do not say, so the same address is asked over HTTP. */

/**
 * @typedef {{code: string, message: string, hint: string}} Obstacle
 */

/** Above this the cookies alone may be more than a server takes in a line. */
const MANY_COOKIE_CHARS = 4_000;
const PROXY = "A proxy in between has to pass the headers Upgrade and Connection on, and the path as it is.";
const COOKIES = "This address has very long cookies, perhaps of other programs. Delete them, or use a private window.";
const LATER = "The server or a proxy before it is not up yet, or has too much to do.";

/** @type {Record<number, {message: string, hint: string}>} */
const ANSWERS = {
  401: { message: "A proxy in between wants a login", hint: "Reload the page to log in again." },
  403: { message: "A proxy in between does not let the stream through", hint: PROXY },
  407: { message: "A proxy in between wants a login", hint: "Reload the page to log in again." },
  421: {
    message: "The server does not answer to this name",
    hint: "Use the address that it printed, or start it with --allow-host and this name.",
  },
  431: { message: "The request is too long for the server", hint: COOKIES },
  502: { message: "The server does not answer yet", hint: LATER },
  503: { message: "The server takes no connections now", hint: LATER },
  504: { message: "The server does not answer yet", hint: LATER },
};

/**
 * @param {number} status       of the HTTP answer
 * @param {number} cookieChars  that go with every request
 * @returns {Obstacle}
 */
export function explainAnswer(status, cookieChars) {
  const cookies = cookieChars > MANY_COOKIE_CHARS;
  const other = { message: "The server is there, but a WebSocket does not get through to it", hint: cookies ? COOKIES : PROXY };
  return { code: "no_socket", ...(ANSWERS[status] ?? other) };
}

/**
 * @param {string} url               of the stream, with ws or wss
 * @param {() => string} readCookies  which a browser may forbid
 * @returns {Promise<Obstacle | null>} null when nothing answers at all
 */
export async function findObstacle(url, readCookies) {
  const cookieChars = lengthOf(readCookies);
  try {
    const answer = await fetch(url.replace(/^ws/, "http"), { cache: "no-store", redirect: "manual" });
    // an answer that leads elsewhere is a login page, as a rule
    return explainAnswer(answer.type === "opaqueredirect" ? 401 : answer.status, cookieChars);
  } catch {
    return null;
  }
}

/** @param {() => string} read */
function lengthOf(read) {
  try {
    return read().length;
  } catch {
    return 0;
  }
}
