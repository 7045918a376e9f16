/** Why a stream of `connect` does not do what was asked, or has ended. */

/** What went wrong: `code` is one of the protocol, or `disconnected`, `unreachable`, `bad_server`, `ended`. */
export class StreamError extends Error {
  /** @param {string} code @param {string} message @param {string | null} [hint] @param {string | null} [field] */
  constructor(code, message, hint = null, field = null) {
    super(hint === null ? message : `${message} ${hint}`);
    this.name = "StreamError";
    this.code = code;
    this.hint = hint;
    this.field = field;
  }
}
