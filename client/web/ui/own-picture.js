/** A picture of the viewer's own: chosen, dropped or pasted, placed in a dialog, handed on. */

import { FaceSearch } from "../face/face-search.js";
import { placed, WORDS } from "../face/placement.js";
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

const PLACED = "Eyes and mouth are under the marks. Move, zoom or turn the picture where they are not.";
const BY_HAND = "Move, zoom and turn the picture until eyes and mouth are under the marks.";

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
    this._tilt = byId("own-tilt", HTMLInputElement);
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
    this._faces = new FaceSearch();
    /** Whether the picture that is placed was moved by hand: it stays there. */
    this._byHand = false;
    /** The square that the stream has, as a data URL; null: none, or from before a reload. @type {string | null} */
    this.square = null;
    new CropInput(this._window, () => this._crop, () => this._moved());
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
      this._moved();
    });
    this._tilt.addEventListener("input", () => {
      this._crop?.turnTo((Number(this._tilt.value) * Math.PI) / -180);
      this._moved();
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
    this._byHand = false;
    setText(this._say, "Looking for the face…");
    this._draw();
    this._window.focus();
    await this._place(picture);
  }

  /** Put the face where the model expects it, unless a hand was faster. @param {ImageBitmap} picture */
  async _place(picture) {
    const found = await this._faces.look(picture);
    const { _crop: crop, _guide: guide } = this;
    if (this._picture !== picture || !crop || !guide) return;
    if (found?.points && !this._byHand) crop.show(placed(found.points, guide));
    const words = (found?.flaws ?? []).map((flaw) => WORDS[flaw]);
    setText(this._say, words.join(" ") || (found ? PLACED : BY_HAND));
    this._draw();
  }

  _moved() {
    this._byHand = true;
    this._draw();
  }

  _draw() {
    const { _picture: picture, _crop: crop, _guide: guide } = this;
    const placing = picture !== null;
    this._empty.hidden = placing;
    this._canvas.hidden = !placing;
    this._use.disabled = this._zoom.disabled = this._tilt.disabled = !placing;
    button("own-other").hidden = !placing;
    if (!picture || !crop || !guide) return;
    this._zoom.value = String(Math.log2(crop.zoom));
    this._tilt.value = String((crop.angle * -180) / Math.PI);
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
