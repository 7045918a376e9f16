/** Small helpers for the page's elements; text only ever goes in as text. */

/**
 * The element with this id, of the class that the caller counts on.
 *
 * @template {Element} T
 * @param {string} id
 * @param {new () => T} type
 * @returns {T}
 */
export function byId(id, type) {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`index.html has no ${type.name} #${id}`);
  return found;
}

/** @param {string} id */
export function button(id) {
  return byId(id, HTMLButtonElement);
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {{className?: string, text?: string, attributes?: Record<string, string>}} [options]
 * @param {Node[]} [children]
 * @returns {HTMLElementTagNameMap[K]}
 */
export function element(tag, { className, text, attributes = {} } = {}, children = []) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  Object.entries(attributes).forEach(([name, value]) => node.setAttribute(name, value));
  node.append(...children);
  return node;
}

/** Swap the icon of a button. @param {Element} host @param {string} name  an id of the sprite without "icon-" */
export function setIcon(host, name) {
  host.querySelector("use")?.setAttribute("href", `#icon-${name}`);
}

/** @param {Element} host @param {string} text  of its last span */
export function setLabel(host, text) {
  const label = host.querySelector("span:last-of-type");
  if (label && label.textContent !== text) label.textContent = text;
}

/** @param {HTMLElement} node @param {boolean} on */
export function setPressed(node, on) {
  node.setAttribute("aria-pressed", String(on));
}

/** Write text only when it changed: screen readers announce every change. @param {Element} node @param {string} text */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
