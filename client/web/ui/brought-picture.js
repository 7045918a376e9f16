/** Picture files that people bring: from a file chooser, or dropped or pasted anywhere on the page. */

import { broughtPicture } from "../input/picture-file.js";

/** @param {HTMLInputElement} input @param {(file: File) => void} onFile */
export function listenToChooser(input, onFile) {
  input.addEventListener("change", () => {
    const file = input.files?.[0];
    input.value = "";
    if (file) onFile(file);
  });
}

/** @param {() => boolean} wanted  asked when one is brought @param {(file: File) => void} onFile */
export function listenToPage(wanted, onFile) {
  /** @param {Event} event @param {DataTransfer | null} data */
  const bring = (event, data) => {
    const file = wanted() ? broughtPicture(event, data) : null;
    if (!file) return;
    event.preventDefault();
    onFile(file);
  };
  document.addEventListener("dragover", (event) => {
    if (wanted() && event.dataTransfer?.types.includes("Files")) event.preventDefault();
  });
  document.addEventListener("drop", (event) => bring(event, event.dataTransfer));
  document.addEventListener("paste", (event) => bring(event, event.clipboardData));
}
