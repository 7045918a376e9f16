/** What the picture answers to, in words. */

import { OWN_PICTURE } from "../net/protocol.js";

/** @import { Inputs } from "../net/messages.js" */

/**
 * @param {Inputs | null} inputs  of the model, once it is known
 * @param {string} sceneName
 * @returns {string} a line for whoever looks at that scene; empty if it takes nothing
 */
export function hintInWords(inputs, sceneName) {
  const known = inputs?.scenes?.find((scene) => scene.name === sceneName)?.kind ?? "scene";
  const kind = sceneName === OWN_PICTURE ? "avatar" : known;
  const speak = kind === "avatar" && inputs?.speech ? "Press Talk and speak: the picture speaks along." : "";
  const drag = kind === "avatar" ? "Drag to turn the head." : "Drag things to move them, double-click to pin them.";
  const keys = inputs?.camera ? "W A S D move the camera, arrow keys turn it." : "";
  return [speak, inputs?.tracks ? drag : "", keys].filter(Boolean).join(" ");
}
