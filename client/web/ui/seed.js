/** The seed field: Enter uses it from here on, the dice roll another, Restart begins the content anew. */

import { button, byId } from "./dom.js";

/** @typedef {{onSeed: (seed: number) => void, onRestart: (seed: number) => void}} SeedActions */

const DICE_SIDES = 1_000_000;

export class SeedView {
  /** @param {SeedActions} actions */
  constructor({ onSeed, onRestart }) {
    this._input = byId("seed", HTMLInputElement);
    this._form = byId("seed-form", HTMLFormElement);
    this._form.addEventListener("submit", (event) => {
      event.preventDefault();
      onSeed(this._input.valueAsNumber);
    });
    button("dice").addEventListener("click", () => {
      this._input.valueAsNumber = Math.floor(Math.random() * DICE_SIDES);
      onSeed(this._input.valueAsNumber);
    });
    button("restart").addEventListener("click", () => {
      if (this._form.reportValidity()) onRestart(this._input.valueAsNumber);
    });
  }

  /** @param {number} seed */
  setSeed(seed) {
    this._input.value = String(seed);
  }
}
