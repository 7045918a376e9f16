/**
 * The picture: an exact copy of the frame, and a smooth enlargement of it for the eye.
 *
 * The copy has the model's own size, so that it can be read back pixel for pixel; the enlargement is
 * what is shown and recorded.
 */

/** @import { Picture } from "./decoder.js" */

const SHOWN_SIZE = 768;
const MAX_SCALE = 4;
/** The glow is a mood: half a second late is early enough, and it must cost nothing. */
const GLOW_EVERY_FRAMES = 12;
const GLOW_PIXELS = 6;

export class Stage {
  /**
   * @param {HTMLCanvasElement} shown
   * @param {HTMLCanvasElement} glow  the light that the picture throws on its surroundings
   */
  constructor(shown, glow) {
    this.shown = shown;
    this._exact = document.createElement("canvas");
    this._exactContext = context2d(this._exact);
    this._shownContext = context2d(shown);
    this._glow = glow;
    this._glowContext = context2d(glow, true);
    this._mood = document.createElement("canvas");
    this._mood.width = this._mood.height = GLOW_PIXELS;
    this._moodContext = context2d(this._mood);
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

  /** @param {Picture | HTMLVideoElement} picture */
  paint(picture) {
    const { width, height } = this._exact;
    this._exactContext.drawImage(picture, 0, 0, width, height);
    this._shownContext.drawImage(this._exact, 0, 0, this.shown.width, this.shown.height);
    if (this._painted % GLOW_EVERY_FRAMES === 0) this._paintGlow();
    this._painted += 1;
  }

  /** A few averaged pixels, enlarged, fading out to all sides. */
  _paintGlow() {
    const { width, height } = this._glow;
    const context = this._glowContext;
    this._moodContext.drawImage(this._exact, 0, 0, GLOW_PIXELS, GLOW_PIXELS);
    context.globalCompositeOperation = "copy";
    context.drawImage(this._mood, 0, 0, width, height);
    const fade = context.createRadialGradient(width / 2, height / 2, width / 8, width / 2, height / 2, width / 2);
    fade.addColorStop(0, "#000");
    fade.addColorStop(1, "transparent");
    context.globalCompositeOperation = "destination-in";
    context.fillStyle = fade;
    context.fillRect(0, 0, width, height);
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

/** @param {HTMLCanvasElement} canvas @param {boolean} [alpha] */
function context2d(canvas, alpha = false) {
  const context = canvas.getContext("2d", { alpha });
  if (!context) throw new Error("this browser has no 2d canvas");
  return context;
}
