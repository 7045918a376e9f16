/** Picture files as the browser reads them, with words for those that it does not. */

const UNREAD = "This file is no picture that the browser can read. Try a JPEG or PNG.";
const HEIC = "This browser cannot read HEIC pictures. Save or share it as a JPEG, then try again.";

/** The file cannot be used; the message is for the user. */
export class PictureFileError extends Error {}

/**
 * @param {Blob} file
 * @returns {Promise<ImageBitmap>}
 * @throws {PictureFileError}
 */
export async function openPicture(file) {
  try {
    return await createImageBitmap(file);
  } catch {
    throw new PictureFileError(await isHeic(file) ? HEIC : UNREAD);
  }
}

/**
 * The picture among files that were dropped or pasted; null: none, or text, which has its own place to go.
 *
 * @param {Event} event
 * @param {DataTransfer | null} data
 * @returns {File | null}
 */
export function broughtPicture(event, data) {
  const files = [...(data?.files ?? [])];
  const text = event.type === "paste" && data?.types.includes("text/plain");
  return text ? null : (files.find(({ type }) => type.startsWith("image/")) ?? files[0] ?? null);
}

/** By its first bytes: phones that write it do not always name it. @param {Blob} file */
async function isHeic(file) {
  const head = await file.slice(4, 12).text().catch(() => "");
  return /^ftyp(hei[cxms]|hev[cx]|mif1|msf1)/.test(head);
}
