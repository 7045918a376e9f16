/** The image that the stream starts from: chosen, dropped or pasted, shown as it is used. */

import { PictureFileError } from "../input/picture-file.js";
import { base64Of, readStartImage } from "../input/start-image.js";
import { listenToChooser, listenToPage } from "./brought-picture.js";
import { button, byId, setText } from "./dom.js";

/**
 * @import { ImageInput } from "../net/messages.js"
 * @typedef {{onImage: (base64: string) => boolean, onUnread: (why: string) => void}} StartImageActions
 */

export class StartImageView {
  /** @param {StartImageActions} actions */
  constructor(actions) {
    this._actions = actions;
    this._shown = byId("image-shown", HTMLImageElement);
    this._empty = byId("image-empty", HTMLElement);
    this._note = byId("image-note", HTMLElement);
    this._file = byId("image-file", HTMLInputElement);
    this._frame = button("image-choose");
    /** @type {ImageInput | null} null: this model starts from no image */
    this._input = null;
    /** A dropped picture is a face where the model takes faces. */
    this._dropped = false;
    /** @type {string | null} the image that was handed on last, as a data URL */
    this._offered = null;
    /** @type {string | null} the one that the stream has; null: none, or from before a reload */
    this._used = null;
    this._frame.addEventListener("click", () => this.choose());
    listenToChooser(this._file, (file) => void this._load(file));
    listenToPage(() => this._dropped, (file) => void this._load(file));
  }

  /** @param {ImageInput | null} input @param {boolean} faces  the model takes pictures of faces, too */
  setInput(input, faces) {
    this._input = input;
    this._dropped = input !== null && !faces;
  }

  /** Whether the stream has one; which it is only this page knows. @param {boolean} there */
  setThere(there) {
    this._used = there ? (this._used ?? this._offered) : null;
    this._show(this._used);
    setText(this._note, there && !this._used ? "The stream has an image." : "");
  }

  choose() {
    this._file.click();
  }

  /** The server has taken it. */
  accept() {
    this._used = this._offered;
    this.setThere(true);
  }

  /** @param {Blob} file */
  async _load(file) {
    if (!this._input) return;
    try {
      const url = await readStartImage(file, this._input);
      if (this._actions.onImage(base64Of(url))) this._offered = url;
    } catch (error) {
      if (!(error instanceof PictureFileError)) throw error;
      this._actions.onUnread(error.message);
    }
  }

  /** @param {string | null} url */
  _show(url) {
    this._shown.hidden = url === null;
    this._empty.hidden = url !== null;
    if (url) this._shown.src = url;
    this._frame.setAttribute("aria-label", url ? "Choose another start image" : "Choose a start image");
  }
}
