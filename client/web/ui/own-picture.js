/** A picture of the viewer's own: chosen, dropped or pasted, placed in a dialog, handed on. */

import { cutOut, drawGuide, drawPlaced } from "../input/crop-canvas.js";
import { CropInput } from "../input/crop-input.js";
import { Crop } from "../input/crop.js";
import { openPicture, PictureFileError } from "../input/picture-file.js";
import { base64Of } from "../input/start-image.js";
import { listenToChooser, listenToPage } from "./brought-picture.js";
import { button, byId, setText } from "./dom.js";

/**
 * @import { PictureGuide } from "../net/messages.js"
 * @typedef {{onPicture: (base64: string) => boolean, onUnread: (why: string) => void}} OwnPictureActions
 */

export class OwnPictureView {
  /** @param {OwnPictureActions} actions */
  constructor(actions) {
    this._actions = actions;
    this._row = byId("own", HTMLElement);
    this._dialog = byId("own-dialog", HTMLDialogElement);
    this._window = byId("own-window", HTMLElement);
    this._canvas = byId("own-canvas", HTMLCanvasElement);
    this._empty = byId("own-empty", HTMLElement);
    this._zoom = byId("own-zoom", HTMLInputElement);
    this._use = button("own-use");
    this._say = byId("own-say", HTMLElement);
    this._file = byId("own-file", HTMLInputElement);
    /** @type {PictureGuide | null} null: this model takes no pictures */
    this._guide = null;
    /** @type {ImageBitmap | null} */
    this._picture = null;
    /** @type {Crop | null} */
    this._crop = null;
    /** The square that was handed on last. @type {string | null} */
    this._offered = null;
    /** The square that the stream has, as a data URL; null: none, or from before a reload. @type {string | null} */
    this.square = null;
    new CropInput(this._window, () => this._crop, () => this._draw());
    this._listen();
    listenToPage(() => this._guide !== null, (file) => void this._load(file));
  }

  /** @param {PictureGuide | null} guide */
  setGuide(guide) {
    this._guide = guide;
    this._row.hidden = guide === null;
    if (guide === null) this._dialog.close();
  }

  _listen() {
    button("own-open").addEventListener("click", () => this._open());
    for (const id of ["own-choose", "own-other"]) button(id).addEventListener("click", () => this._file.click());
    listenToChooser(this._file, (file) => void this._load(file));
    this._zoom.addEventListener("input", () => {
      this._crop?.zoomTo(2 ** Number(this._zoom.value));
      this._draw();
    });
    this._use.addEventListener("click", () => this._handOn());
    this._dialog.addEventListener("close", () => this._forget());
  }

  _open() {
    if (this._guide && !this._dialog.open) this._dialog.showModal();
  }

  /** @param {Blob} file */
  async _load(file) {
    let picture;
    try {
      picture = await openPicture(file);
    } catch (error) {
      if (!(error instanceof PictureFileError)) throw error;
      setText(this._say, error.message);
      if (!this._dialog.open) this._actions.onUnread(error.message);
      return;
    }
    this._open();
    this._picture?.close();
    this._picture = picture;
    this._crop = new Crop(picture.width, picture.height);
    setText(this._say, "Move and zoom the picture until eyes and mouth are under the marks.");
    this._draw();
    this._window.focus();
  }

  _draw() {
    const { _picture: picture, _crop: crop, _guide: guide } = this;
    const placing = picture !== null;
    this._empty.hidden = placing;
    this._canvas.hidden = !placing;
    this._use.disabled = this._zoom.disabled = !placing;
    button("own-other").hidden = !placing;
    if (!picture || !crop || !guide) return;
    this._zoom.value = String(Math.log2(crop.zoom));
    drawPlaced(this._canvas, picture, crop);
    drawGuide(this._canvas, guide);
  }

  _handOn() {
    if (!this._picture || !this._crop || !this._guide) return;
    const square = cutOut(this._picture, this._crop, this._guide.size);
    if (!this._actions.onPicture(base64Of(square))) return;
    this._offered = square;
    this._dialog.close();
  }

  /** The server has taken it. */
  accept() {
    this.square = this._offered;
  }

  /** What was not used is not kept. */
  _forget() {
    this._picture?.close();
    this._picture = this._crop = null;
    setText(this._say, "");
    this._draw();
  }
}
