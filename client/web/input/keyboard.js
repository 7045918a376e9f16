/** Which key was meant, also where the keyboard has letters of another alphabet. */

const LATIN = /^[a-z]$/;
const PLACE = /^Key([A-Z])$/;

/**
 * A Latin letter counts by what is on the key, so that it is the one that the help names. Where the
 * layout has none, the place of the key counts: the "T" of a Russian keyboard is "е".
 *
 * @param {{key: string, code: string, shiftKey: boolean}} event
 * @returns {string} like `KeyboardEvent.key`, letters in lower case
 */
export function meantKey({ key, code, shiftKey }) {
  if (key.length !== 1) return key;
  const letter = key.toLowerCase();
  if (LATIN.test(letter) || isAscii(letter)) return letter;
  const place = PLACE.exec(code);
  if (place) return place[1].toLowerCase();
  return code === "Slash" && shiftKey ? "?" : letter;
}

/** @param {string} sign */
function isAscii(sign) {
  return sign.charCodeAt(0) < 128;
}
