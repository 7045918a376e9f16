/** Asks a worker where the face of a picture is; it is started, and what it needs loaded, with the first. */

/**
 * @import { Flaw, Point } from "./placement.js"
 * @typedef {{points: Point[] | null, flaws: Flaw[]}} FoundFace  points in pixels of the picture
 */

export class FaceSearch {
  constructor() {
    /** @type {Worker | null} */
    this._worker = null;
  }

  /** @param {ImageBitmap} picture @returns {Promise<FoundFace | null>} null: it cannot be known here */
  look(picture) {
    return this._ask(picture).catch(() => null);
  }

  /** @param {ImageBitmap} picture @returns {Promise<FoundFace | null>} */
  async _ask(picture) {
    const copy = await createImageBitmap(picture);
    // one for each picture: what was asked about another cannot answer for it
    this._worker?.terminate();
    const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    this._worker = worker;
    return new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => {
        worker.terminate();
        resolve(data);
      };
      worker.onerror = () => reject(new Error("faces cannot be looked for"));
      worker.postMessage(copy, [copy]);
    });
  }
}
