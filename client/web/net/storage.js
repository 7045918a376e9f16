/** What the page remembers: the session and token of this tab, and the user's preferences. */

const SESSION_KEY = "rollcast.session";
const TICKET_KEY = "rollcast.ticket";
const TOKEN_KEY = "rollcast.token";
const LEFT_KEY = "rollcast.left";
const PREFERENCES_KEY = "rollcast.preferences";
const HISTORY_LENGTH = 12;

/**
 * @import { AudioCodec, SessionReady } from "./messages.js"
 *
 * @typedef {{sessionId: string, resumeToken: string, lastSeq: number, voiceCodec?: "pcm" | "opus"}} SavedSession
 * @typedef {{shape: string, imageShape: string, lead: string, taken: string[], examples: string[]}} PageLayout  of the model that was shown last
 * @typedef {{theme: "auto" | "light" | "dark", history: string[], figuresOpen: boolean | null,
 *   singleKeys: boolean, microphone: string, webcam: string, layout: PageLayout | null, transport: string}} Preferences
 */

/**
 * One JSON value in a Storage. A browser may forbid storage altogether (private mode, blocked
 * cookies): then the value lives as long as the page.
 *
 * @template T
 */
class StoredValue {
  /**
   * @param {() => Storage} area
   * @param {string} key
   * @param {T} initial
   */
  constructor(area, key, initial) {
    this._area = area;
    this._key = key;
    /** @type {T} */
    this._value = initial;
    try {
      const text = area().getItem(key);
      if (text !== null) this._value = { ...initial, ...JSON.parse(text) };
    } catch {
      this._value = initial;
    }
  }

  /** @returns {T} */
  get() {
    return this._value;
  }

  /** @param {T} value */
  set(value) {
    this._value = value;
    try {
      if (value === null) this._area().removeItem(this._key);
      else this._area().setItem(this._key, JSON.stringify(value));
    } catch {
      return; // the value in memory still serves this page
    }
  }
}

/** The session to take up again after a reload; it belongs to one tab. */
export class SessionStore {
  /** @param {() => Storage} [area] */
  constructor(area = () => sessionStorage) {
    /** @type {StoredValue<SavedSession | null>} */
    this._stored = new StoredValue(area, SESSION_KEY, null);
    /** @type {StoredValue<{name: string | null}>} */
    this._ticket = new StoredValue(area, TICKET_KEY, { name: null });
  }

  /** Of this tab's turn in the line of those who wait for a place. @returns {string | null} */
  get ticket() {
    return this._ticket.get().name;
  }

  /** @param {string} name */
  keepTicket(name) {
    this._ticket.set({ name });
  }

  /** @returns {SavedSession | null} */
  load() {
    const saved = this._stored.get();
    return saved?.sessionId && saved.resumeToken ? saved : null;
  }

  /** @param {SavedSession} session */
  save(session) {
    this._stored.set(session);
  }

  /** The stream that is open now. @param {SessionReady} ready @param {AudioCodec} voiceCodec */
  keep(ready, voiceCodec) {
    const lastSeq = ready.resumed ? (this.load()?.lastSeq ?? -1) : -1;
    const voice = voiceCodec === "pcm" ? {} : { voiceCodec };
    this.save({ sessionId: ready.session_id, resumeToken: ready.resume_token, lastSeq, ...voice });
    this._ticket.set({ name: null });
  }

  /** @param {number} lastSeq */
  noteShown(lastSeq) {
    const saved = this.load();
    if (saved) this.save({ ...saved, lastSeq });
  }

  clear() {
    this._stored.set(null);
    this._ticket.set({ name: null });
  }
}

/** What lets this tab in, also after a reload. */
export class TokenStore {
  /** @param {() => Storage} [area] */
  constructor(area = () => sessionStorage) {
    /** @type {StoredValue<{token: string | null}>} */
    this._stored = new StoredValue(area, TOKEN_KEY, { token: null });
  }

  /** @returns {string | null} */
  load() {
    return this._stored.get().token;
  }

  /** @param {string} token */
  keep(token) {
    this._stored.set({ token });
  }
}

/**
 * The stream of a tab that was closed: the next tab of this browser goes on with it while the server
 * still keeps it, instead of standing in line for its place.
 */
export class LeftSession {
  /** @param {() => Storage} [area] */
  constructor(area = () => localStorage) {
    this._area = area;
  }

  /** The page goes away for good. @param {SavedSession} session @param {number} untilMs  wall clock */
  leave(session, untilMs) {
    this._stored().set({ session, untilMs });
  }

  /**
   * Take it, so that nobody else does.
   *
   * @param {number} nowMs  wall clock
   * @returns {SavedSession | null}
   */
  take(nowMs) {
    const stored = this._stored();
    const left = stored.get();
    stored.set(null);
    return left && left.untilMs > nowMs ? left.session : null;
  }

  /** Other tabs write it too, so it is read anew each time. @returns {StoredValue<{session: SavedSession, untilMs: number} | null>} */
  _stored() {
    return new StoredValue(this._area, LEFT_KEY, null);
  }
}

/** Choices that outlive the visit. */
export class PreferenceStore {
  /** @param {() => Storage} [area] */
  constructor(area = () => localStorage) {
    /** @type {StoredValue<Preferences>} */
    this._stored = new StoredValue(area, PREFERENCES_KEY, {
      theme: "auto", history: [], figuresOpen: null, singleKeys: true, microphone: "", webcam: "", layout: null, transport: "auto",
    });
  }

  /** @returns {Preferences} */
  get() {
    return this._stored.get();
  }

  /** @param {Partial<Preferences>} change */
  update(change) {
    this._stored.set({ ...this.get(), ...change });
  }

  /**
   * Put a prompt first in the history, without a duplicate.
   *
   * @param {string} text
   */
  rememberPrompt(text) {
    const others = this.get().history.filter((entry) => entry !== text);
    this.update({ history: [text, ...others].slice(0, HISTORY_LENGTH) });
  }
}
