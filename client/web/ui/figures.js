/** The panel of live figures: tiles with sparklines and a line of facts. */

import { byId, element, setText } from "./dom.js";
import { Sparkline } from "./sparkline.js";
import { sentence } from "./status.js";

/**
 * @import { Reading } from "../media/figures.js"
 * @import { Playback } from "../media/playback.js"
 * @import { SessionReady, SessionWatching, StreamParked, StreamQuality } from "../net/messages.js"
 * @typedef {keyof Omit<Reading, "skipped" | "realTime" | "quality" | "parked">} TileKey
 * @typedef {{title: string, unit: string, digits: number, about: string}} Tile
 */

/** @type {Record<TileKey, Tile>} */
const TILES = {
  fps: { title: "Frame rate", unit: "fps", digits: 1, about: "Frames drawn per second" },
  photonMs: { title: "Control to photon", unit: "ms", digits: 0, about: "From a control leaving this page to the first frame that shows it" },
  latencyMs: { title: "Latency", unit: "ms", digits: 0, about: "From a frame being ready on the server to being drawn here" },
  leadMs: { title: "Lead", unit: "ms", digits: 0, about: "Video made and not shown yet" },
  chunkMs: { title: "Model time", unit: "ms", digits: 0, about: "Time to make one chunk" },
  kbps: { title: "Bit rate", unit: "kbit/s", digits: 0, about: "Video and sound received" },
};

/** @param {StreamQuality | null} quality */
function qualityInWords(quality) {
  return quality?.why ? sentence(quality.why) : "Full";
}

/** @param {StreamParked | null} parked */
function placeInWords(parked) {
  if (!parked) return "Has one";
  return parked.position ? `Number ${parked.position} in the line for one` : "Given to others while it stands still";
}

/**
 * @param {SessionReady | SessionWatching | null} session
 * @param {Playback} playback
 * @param {Reading} reading
 * @returns {Record<string, string>}
 */
export function factsInWords(session, { player, serverClock }, reading) {
  const best = serverClock.best();
  return {
    Dropped: String(player.dropped),
    Skipped: String(reading.skipped),
    Stalls: String(player.clock.stalls),
    "Model / media time": reading.realTime === null ? "–" : reading.realTime.toFixed(2),
    Quality: qualityInWords(reading.quality),
    Place: placeInWords(reading.parked),
    "Round trip": best ? `${best.rttMs.toFixed(0)} ms` : "–",
    Codec: session ? `${session.codec} ${session.width}×${session.height}` : "–",
    Session: session?.session_id ?? "–",
  };
}

export class FiguresView {
  constructor() {
    this.panel = byId("figures", HTMLDetailsElement);
    this._facts = byId("facts", HTMLElement);
    /** @type {Map<string, HTMLElement>} */
    this._values = new Map();
    /** @type {Map<string, HTMLElement>} */
    this._factValues = new Map();
    this._sparks = new Map(Object.keys(TILES).map((key) => [key, new Sparkline()]));
    byId("tiles", HTMLElement).append(...Object.entries(TILES).map(([key, tile]) => this._tile(key, tile)));
  }

  /** @param {Reading} reading @param {Record<string, string>} facts  by their title */
  render(reading, facts) {
    for (const [key, tile] of Object.entries(TILES)) {
      const value = reading[/** @type {TileKey} */ (key)];
      this._sparks.get(key)?.push(value);
      const node = this._values.get(key);
      if (node) setText(node, value === null ? "–" : value.toFixed(tile.digits));
    }
    Object.entries(facts).forEach(([title, value]) => setText(this._factNode(title), value));
  }

  /** @param {string} key @param {Tile} tile */
  _tile(key, { title, unit, about }) {
    const value = element("span", { className: "tile-value", text: "–", attributes: { id: `figure-${key}` } });
    this._values.set(key, value);
    const spark = this._sparks.get(key)?.node;
    return element("div", { className: "tile", attributes: { title: about } }, [
      element("span", { className: "tile-title", text: title }),
      element("span", { className: "tile-reading" }, [value, element("span", { className: "tile-unit", text: unit })]),
      ...(spark ? [spark] : []),
    ]);
  }

  /** @param {string} title */
  _factNode(title) {
    const known = this._factValues.get(title);
    if (known) return known;
    const value = element("dd");
    this._factValues.set(title, value);
    this._facts.append(element("div", {}, [element("dt", { text: title }), value]));
    return value;
  }
}
