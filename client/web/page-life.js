/**
 * What the browser does to the page: hide it, put it to sleep, leave it, take it offline.
 *
 * A page cannot tell its closing from a reload. So leaving never ends the stream: the socket goes,
 * the server keeps the stream for its grace time, and a reload, or the next tab, takes it up again.
 * Only the user's "End the stream" frees the place at once.
 */

/**
 * @typedef {object} LifeActions
 * @property {(hidden: boolean) => void} onHidden
 * @property {(forGood: boolean) => void} onLeave  not for good: into the back/forward cache
 * @property {() => void} onReturn  from the back/forward cache
 * @property {() => void} onOnline
 * @property {() => boolean} mayLose  whether something would be lost that the user should be asked about
 */

/** @param {LifeActions} actions */
export function watchPageLife({ onHidden, onLeave, onReturn, onOnline, mayLose }) {
  document.addEventListener("visibilitychange", () => onHidden(document.hidden));
  window.addEventListener("pagehide", (event) => onLeave(!event.persisted));
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) onReturn();
  });
  window.addEventListener("online", onOnline);
  window.addEventListener("beforeunload", (event) => {
    if (mayLose()) event.preventDefault();
  });
}
