/** Single keys for the whole page; they stay out of text fields and of browser shortcuts. */

import { meantKey } from "./keyboard.js";

/** @param {EventTarget | null} target  true where letters are text */
export function takesText(target) {
  if (!(target instanceof HTMLElement)) return false;
  return target.matches("input:not([type=radio]):not([type=range]), textarea, select, [contenteditable]");
}

/** Space presses a focused button, as everywhere. @param {EventTarget | null} target */
function takesSpace(target) {
  return target instanceof HTMLElement && target.matches("button, summary, a, input");
}

/**
 * @param {Record<string, () => void>} actions  by the key that is meant, letters in lower case
 * @param {() => boolean} wanted  some people's dictation or switches type keys they do not mean
 */
export function listenForShortcuts(actions, wanted) {
  document.addEventListener("keydown", (event) => {
    if (!wanted() && event.key.length === 1) return;
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.defaultPrevented) return;
    if (takesText(event.target) || document.querySelector("dialog[open]")) return;
    if (event.key === " " && takesSpace(event.target)) return;
    const action = actions[meantKey(event)];
    if (!action) return;
    event.preventDefault();
    action();
  });
}
