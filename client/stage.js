/**
 * The picture: an exact copy of the frame, and a smooth enlargement of it for the eye.
 *
 * The copy has the model's own size, so that it can be read back pixel for pixel; the enlargement is
 * what is shown and recorded.
 */

/** @import { Picture } from "./decoder.js" */

const SHOWN_SIZE = 768;
const MAX_SCALE = 4;
const GLOW_EVERY_FRAMES = 6;

export class Stage {
  /**
   * @param {HTMLCanvasElement} shown
   * @param {HTMLCanvasElement} glow  a few pixels that light the surroundings of the picture
   */
  constructor(shown, glow) {
    this.shown = shown;
    this._exact = document.createElement("canvas");
    this._exactContext = context2d(this._exact);
    this._shownContext = context2d(shown);
    this._glow = glow;
    this._glowContext = context2d(glow);
    this._painted = 0;
  }

  /** @param {number} width @param {number} height  of the model's frames */
  resize(width, height) {
    if (this._exact.width === width && this._exact.height === height && this._painted > 0) return;
    const scale = Math.max(1, Math.min(MAX_SCALE, Math.round(SHOWN_SIZE / Math.max(width, height))));
    this._exact.width = width;
    this._exact.height = height;
    this.shown.width = width * scale;
    this.shown.height = height * scale;
    this._shownContext.imageSmoothingEnabled = true;
    this._shownContext.imageSmoothingQuality = "high";
  }

  /** @param {Picture} picture */
  paint(picture) {
    const { width, height } = this._exact;
    this._exactContext.drawImage(picture, 0, 0, width, height);
    this._shownContext.drawImage(this._exact, 0, 0, this.shown.width, this.shown.height);
    if (this._painted % GLOW_EVERY_FRAMES === 0) {
      this._glowContext.drawImage(this._exact, 0, 0, this._glow.width, this._glow.height);
    }
    this._painted += 1;
  }

  /** The frame on screen, pixel for pixel. */
  readFrame() {
    return this._exactContext.getImageData(0, 0, this._exact.width, this._exact.height);
  }

  /** @returns {Promise<Blob | null>} a PNG of what is shown */
  screenshot() {
    return new Promise((resolve) => this.shown.toBlob(resolve, "image/png"));
  }
}

/** @param {HTMLCanvasElement} canvas */
function context2d(canvas) {
  const context = canvas.getContext("2d", { alpha: false });
  if (!context) throw new Error("this browser has no 2d canvas");
  return context;
}
