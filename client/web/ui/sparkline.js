/** A line of the last minute, as an SVG path. */

const WIDTH = 100;
const HEIGHT = 28;
const POINTS = 60;

/** @param {(number | null)[]} values  oldest first */
export function sparklinePath(values) {
  const known = values.filter((value) => value !== null);
  const top = Math.max(...known, 1e-9);
  let path = "";
  let pen = "M";
  values.forEach((value, index) => {
    if (value === null) {
      pen = "M";
      return;
    }
    const x = WIDTH - ((values.length - 1 - index) * WIDTH) / (POINTS - 1);
    const y = HEIGHT - 2 - (Math.max(0, value) / top) * (HEIGHT - 4);
    path += `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
    pen = "L";
  });
  return path;
}

export class Sparkline {
  constructor() {
    const namespace = "http://www.w3.org/2000/svg";
    this.node = document.createElementNS(namespace, "svg");
    this.node.setAttribute("class", "spark");
    this.node.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    this.node.setAttribute("preserveAspectRatio", "none");
    this.node.setAttribute("aria-hidden", "true");
    this._path = document.createElementNS(namespace, "path");
    this.node.append(this._path);
    /** @type {(number | null)[]} */
    this._values = [];
  }

  /** @param {number | null} value */
  push(value) {
    this._values.push(value);
    if (this._values.length > POINTS) this._values.shift();
    this._path.setAttribute("d", sparklinePath(this._values));
  }
}
