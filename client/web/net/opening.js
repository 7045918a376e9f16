/** What to do when the server does not open the stream that was asked for. */

import { VERSION } from "./protocol.js";
import { isLostSession } from "./refusal.js";

/**
 * @import { SessionWish } from "./connection.js"
 * @import { AudioCodec, Codec, ErrorMessage } from "./messages.js"
 * @import { SavedSession } from "./storage.js"
 *
 * @typedef {"anew" | "plain" | "ask" | "lost" | "fail"} NextStep
 *   `anew`: create a stream in place of the one that is gone; `plain`: the server's choice in place of a wish that
 *   cannot be met; `ask`: the user has to bring an image; `lost`: the socket closes, and says why; `fail`: the user
 *   has to know
 */

/**
 * @param {string} client @param {Codec[]} codecs @param {AudioCodec[]} sound  both best first
 * @param {string | null} token
 */
export function greeting(client, codecs, sound, token) {
  return {
    type: "hello", versions: [VERSION], client, codecs, audio: true,
    ...(sound[0] === "pcm" ? {} : { audio_codecs: sound }), ...(token === null ? {} : { token }),
  };
}

/**
 * What asks for a new stream, or for the one that was kept.
 *
 * @param {SavedSession | null} saved @param {AudioCodec} voice @param {SessionWish} wish
 * @param {string | null} ticket  of a turn in the line that may still be kept
 */
export function request(saved, voice, wish, ticket = null) {
  if (saved === null) {
    const sound = voice === "pcm" ? {} : { audio_codec: voice };
    return { type: "session.create", ...sound, ...wish, ...(ticket === null ? {} : { ticket }) };
  }
  return {
    type: "session.resume", session_id: saved.sessionId, resume_token: saved.resumeToken, last_seq: saved.lastSeq,
  };
}

/** The code of this page for a model that starts from an image. */
export const IMAGE_WANTED = "image_wanted";

/**
 * @param {ErrorMessage} error
 * @param {{resuming: boolean, wishing: boolean}} asked
 * @returns {NextStep}
 */
export function afterRefusal(error, { resuming, wishing }) {
  const final = error.fatal && !isLostSession(error.code);
  if (!final && resuming) return "anew";
  if (error.code === "invalid_field" && error.field === "image") return "ask";
  if (!final && wishing) return "plain";
  return error.fatal ? "lost" : "fail";
}
