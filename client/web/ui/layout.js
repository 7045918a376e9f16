/**
 * What the page looks like for a model: the shape of its picture, what it is offered, what comes first.
 *
 * It is remembered, so that a page that is loaded again does not jump when the server has answered.
 */

import { byId, element } from "./dom.js";

/**
 * @import { ModelDescription } from "../net/messages.js"
 * @import { PageLayout, PreferenceStore } from "../net/storage.js"
 */

/** @param {ModelDescription} model @returns {PageLayout} */
export function layoutOf({ width, height, inputs }) {
  const taken = Object.entries(inputs).flatMap(([name, input]) => (input ? [name] : []));
  const avatar = inputs.scenes || inputs.picture || inputs.speech;
  const examples = inputs.prompt?.examples ?? [];
  return { shape: String(width / height), lead: inputs.prompt && !avatar ? "prompt" : "", taken, examples };
}

/** @param {ModelDescription} model @param {PreferenceStore} preferences */
export function layOut(model, preferences) {
  const layout = layoutOf(model);
  applyLayout(layout);
  preferences.update({ layout });
}

/** @param {PageLayout} layout */
export function applyLayout({ shape, lead, taken }) {
  document.documentElement.style.setProperty("--shape", shape);
  document.body.dataset.lead = lead;
  // `data-needs` names inputs of which one has to be taken for an element to make sense
  for (const part of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-needs]"))) {
    const usable = (part.dataset.needs ?? "").split(" ").some((name) => taken.includes(name));
    part.hidden = !usable;
    if (part instanceof HTMLButtonElement) part.disabled = !usable;
  }
}

/** What will stand there when the server has answered, so that nothing below it moves. @param {PageLayout} layout */
export function keepRoom({ examples }) {
  byId("presets", HTMLElement).replaceChildren(...examples.map((text) =>
    element("button", { className: "preset", text, attributes: { type: "button", dir: "auto", disabled: "" } })));
}
