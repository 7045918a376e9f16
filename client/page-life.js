/**
 * What the browser does to the page: hide it, put it to sleep, leave it, take it offline.
 *
 * A page cannot tell its closing from a reload. So leaving never ends the stream: the socket goes,
 * the server keeps the stream for its grace time, and a reload takes it up again. Only the user's
 * "End the stream" frees the place at once.
 */

/**
 * @typedef {object} LifeActions
 * @property {(hidden: boolean) => void} onHidden
 * @property {() => void} onLeave
 * @property {() => void} onReturn  from the back/forward cache
 * @property {() => void} onOnline
 */

/** @param {LifeActions} actions */
export function watchPageLife({ onHidden, onLeave, onReturn, onOnline }) {
  document.addEventListener("visibilitychange", () => onHidden(document.hidden));
  window.addEventListener("pagehide", onLeave);
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) onReturn();
  });
  window.addEventListener("online", onOnline);
}
