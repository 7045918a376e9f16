/** The choice of model and scene. */

import { OWN_PICTURE } from "../net/protocol.js";
import { byId, element, setText } from "./dom.js";

/**
 * @import { ModelDescription, SceneInfo } from "../net/messages.js"
 * @typedef {{onScene: (name: string) => void, onModel: (name: string) => void}} SceneActions
 */

const KINDS = /** @type {const} */ ([
  { kind: "avatar", caption: "Avatars" },
  { kind: "scene", caption: "Scenes" },
]);

export class SceneView {
  /** @param {SceneActions} actions */
  constructor({ onScene, onModel }) {
    this._scenes = byId("scenes", HTMLElement);
    this._list = byId("scene-list", HTMLElement);
    this._own = byId("own-choice", HTMLElement);
    this._ownImage = byId("own-image", HTMLImageElement);
    this._modelCard = byId("model-card", HTMLElement);
    this._model = byId("model", HTMLSelectElement);
    this._title = byId("scene-now", HTMLElement);
    /** @type {Map<string, string>} by scene name */
    this._titles = new Map();
    this._onScene = onScene;
    this._shown = "";
    this._model.addEventListener("change", () => onModel(this._model.value));
    this._own.querySelector("input")?.addEventListener("change", () => onScene(OWN_PICTURE));
  }

  /** Offer the stream's own picture, if it has one. @param {boolean} there @param {string | null} image  null: not known */
  setOwn(there, image) {
    this._own.hidden = !there;
    this._ownImage.hidden = image === null;
    if (image !== null) this._ownImage.src = image;
  }

  /**
   * @param {ModelDescription[]} models
   * @param {ModelDescription} current
   */
  setModels(models, current) {
    const listed = JSON.stringify([models.map(({ name }) => name), current]);
    if (listed === this._shown) return;
    this._shown = listed;
    this._modelCard.hidden = models.length < 2;
    this._model.replaceChildren(...models.map(({ name, title }) =>
      element("option", { text: title, attributes: { value: name } })));
    this._model.value = current.name;
    this._titles = new Map((current.inputs.scenes ?? []).map(({ name, title }) => [name, title]));
    this._titles.set(OWN_PICTURE, "Your picture");
    this._list.replaceChildren(...this._groups(current));
  }

  /** @param {string} name  empty: the model has no scenes */
  setScene(name) {
    for (const input of this._scenes.querySelectorAll("input")) {
      const chosen = input.value === name;
      if (chosen && !input.checked) revealInRow(input.parentElement);
      input.checked = chosen;
    }
    setText(this._title, this._titles.get(name) ?? "");
  }

  /** Avatars and scenes apart, with a caption when there are both. @param {ModelDescription} model */
  _groups(model) {
    const scenes = model.inputs.scenes ?? [];
    const kinds = KINDS.filter(({ kind }) => scenes.some((scene) => scene.kind === kind));
    return kinds.map(({ kind, caption }) => {
      const choices = scenes.filter((scene) => scene.kind === kind).map((scene) => this._choice(model, scene));
      const row = element("div", { className: "scene-row" }, choices);
      return element("div", {}, kinds.length < 2 ? [row] : [element("p", { className: "caption", text: caption }), row]);
    });
  }

  /** @param {ModelDescription} model @param {SceneInfo} scene */
  _choice(model, scene) {
    const input = element("input", { attributes: { type: "radio", name: "scene", value: scene.name } });
    input.addEventListener("change", () => this._onScene(scene.name));
    const picture = element("img", { attributes: { alt: "", width: "96", height: "96", decoding: "async" } });
    picture.addEventListener("error", () => picture.classList.add("missing"));
    picture.src = thumbnailUrl(model, scene);
    return element("label", { className: "scene", attributes: { title: scene.title } }, [
      input, picture,
      element("span", { className: "scene-title", text: scene.title }),
    ]);
  }
}

/** On a phone the row scrolls sideways; the page itself must not move. @param {HTMLElement | null} choice */
function revealInRow(choice) {
  const row = choice?.parentElement;
  if (!choice || !row) return;
  const offset = choice.getBoundingClientRect().left - row.getBoundingClientRect().left;
  row.scrollLeft += offset - (row.clientWidth - choice.clientWidth) / 2;
}

/** @param {ModelDescription} model @param {SceneInfo} scene */
function thumbnailUrl(model, scene) {
  const path = `v1/models/${encodeURIComponent(model.name)}/scenes/${encodeURIComponent(scene.name)}/thumbnail`;
  return new URL(path, document.baseURI).href;
}
