/** A picture file as an image that a stream starts from: cut to the model's shape, small enough to send. */

import { fill } from "./crop-canvas.js";
import { openPicture, PictureFileError } from "./picture-file.js";

/** What the server takes, before base64. */
const MAX_BYTES = 512 * 1024;
const QUALITIES = [0.92, 0.8, 0.6, 0.4];

/**
 * @param {Blob} file
 * @param {{width: number, height: number}} wanted
 * @returns {Promise<string>} a data URL of the largest part in the middle that has the model's shape
 * @throws {PictureFileError}
 */
export async function readStartImage(file, wanted) {
  const picture = await openPicture(file);
  const canvas = document.createElement("canvas");
  const part = middle(picture, wanted);
  const scale = Math.min(1, wanted.width / part.width);
  canvas.width = Math.max(1, Math.round(part.width * scale));
  canvas.height = Math.max(1, Math.round(part.height * scale));
  const context = canvas.getContext("2d");
  if (!context) throw new PictureFileError("This browser cannot draw pictures.");
  fill(context, 0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, part.x, part.y, part.width, part.height, 0, 0, canvas.width, canvas.height);
  picture.close();
  for (const quality of QUALITIES) {
    const url = canvas.toDataURL("image/jpeg", quality);
    if ((base64Of(url).length * 3) / 4 <= MAX_BYTES) return url;
  }
  throw new PictureFileError("The picture has too many details to send. Try a smaller one.");
}

/**
 * The largest part in the middle that has the shape that is wanted.
 *
 * @param {{width: number, height: number}} whole
 * @param {{width: number, height: number}} wanted
 */
export function middle(whole, wanted) {
  const scale = Math.min(whole.width / wanted.width, whole.height / wanted.height);
  const width = wanted.width * scale;
  const height = wanted.height * scale;
  return { x: (whole.width - width) / 2, y: (whole.height - height) / 2, width, height };
}

/** @param {string} url  a data URL */
export function base64Of(url) {
  return url.slice(url.indexOf(",") + 1);
}
