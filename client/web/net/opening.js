/** What to do when the server does not open the stream that was asked for. */

import { isLostSession } from "./refusal.js";

/**
 * @import { ErrorMessage } from "./messages.js"
 *
 * @typedef {"anew" | "plain" | "ask" | "lost" | "fail"} NextStep
 *   `anew`: create a stream in place of the one that is gone; `plain`: the server's choice in place of a wish that
 *   cannot be met; `ask`: the user has to bring an image; `lost`: the socket closes, and says why; `fail`: the user
 *   has to know
 */

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
