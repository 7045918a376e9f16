/**
 * Holds the shape of the page's code: small files that say what they are for, imports that go one way,
 * nothing unsafe, no DOM in the core.
 */

import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

const FOLDER = new URL("../../../client/web/", import.meta.url);
/** By folder; what lies beside them wires them. */
const MAY_IMPORT = { net: [], media: ["net"], face: ["net"], input: ["net", "face"], ui: ["net", "media", "input", "face"] };
const FOLDERS = Object.keys(MAY_IMPORT);
const MODULES = ["", ...FOLDERS.map((folder) => `${folder}/`)]
  .flatMap((folder) => readdirSync(new URL(folder, FOLDER)).map((name) => folder + name))
  .filter((name) => name.endsWith(".js"));
const MAX_LINES = 270;
const NO_DOM = [
  "face/finder", "face/networks", "face/placement",
  "net/backoff", "net/connection", "net/opening", "net/protocol", "net/refusal", "net/server-clock", "net/stream-socket",
  "media/figures", "media/frame-queue", "media/media-clock", "media/player",
  "input/audio-file", "input/camera-keys", "input/controls", "input/resampler", "input/tracks", "input/voice", "ui/status",
];
/** Text that becomes markup or code; data from a server or a user must never get there. */
const UNSAFE = /\.(inner|outer)HTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setAttribute\("(on|style)/;
const SVG_NAMESPACE = "http://www.w3.org/2000/svg";

const read = (name) => readFileSync(new URL(name, FOLDER), "utf8");
const code = (name) => read(name).replaceAll(/\/\*[\s\S]*?\*\/|(?<=^|\s)\/\/.*$/gm, "");
const folderOf = (name) => name.slice(0, Math.max(0, name.indexOf("/")));

test("every folder has its rule", () => {
  const found = readdirSync(FOLDER, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  assert.deepEqual(found.map(({ name }) => name).filter((name) => name !== "node_modules").sort(), [...FOLDERS].sort());
});

for (const name of MODULES) {
  test(`${name} says what it is for and stays readable`, () => {
    const text = read(name);
    assert.match(text, /^\/\*\*/);
    assert.ok(text.split("\n").length <= MAX_LINES, "too long for one idea");
  });

  test(`${name} is safe and complete`, () => {
    assert.doesNotMatch(code(name), UNSAFE);
    assert.doesNotMatch(code(name).replaceAll(SVG_NAMESPACE, ""), /https?:\/\//);
    for (const [, path] of code(name).matchAll(/from "([^"]+)"/g)) {
      assert.ok(/^\.\.?\//.test(path) && existsSync(new URL(path, new URL(name, FOLDER))), path);
    }
  });
}

for (const name of MODULES.filter((each) => folderOf(each) !== "")) {
  test(`${name} imports only what its folder may, types too`, () => {
    // The type of the app is for the view that is handed one.
    const text = name.startsWith("ui/") ? read(name).replace(/@import \{ App \} from "[^"]+"/, "") : read(name);
    const allowed = [folderOf(name), ...MAY_IMPORT[folderOf(name)]];
    for (const [, path] of text.matchAll(/from "([^"]+)"/g)) {
      const target = new URL(path, new URL(name, FOLDER)).href.slice(FOLDER.href.length);
      assert.ok(allowed.includes(folderOf(target)), path);
    }
  });
}

for (const name of NO_DOM) {
  test(`${name}.js knows no page, no timer and no clock of its own`, () => {
    assert.doesNotMatch(code(`${name}.js`), /\b(document|window|navigator|setTimeout|setInterval|Date|performance)\b/);
  });
}

test("index.html brings everything itself and runs no inline code", () => {
  const page = read("index.html");
  assert.doesNotMatch(page, /https?:\/\//);
  assert.doesNotMatch(page, /\s(on\w+|style)=/);
  assert.doesNotMatch(page, /<script(?![^>]*\ssrc=)/);
});

test("every icon that is used is drawn, and the other way round", () => {
  const drawn = new Set([...read("index.html").matchAll(/symbol id="icon-([a-z]+)"/g)].map(([, name]) => name));
  const used = new Set([...read("index.html").matchAll(/href="#icon-([a-z]+)"/g)].map(([, name]) => name));
  for (const name of MODULES.filter((each) => each !== "ui/dom.js")) {
    for (const [, call] of code(name).matchAll(/setIcon\(([^;]*)\)/g)) {
      for (const [, icon] of call.matchAll(/"([a-z]+)"/g)) used.add(icon);
    }
  }
  assert.deepEqual([...used].sort(), [...drawn].sort());
});

test("every element that a module asks for is on the page", () => {
  const ids = new Set([...read("index.html").matchAll(/\sid="([a-z-]+)"/gi)].map(([, id]) => id));
  for (const name of MODULES.filter((each) => each !== "ui/dom.js")) {
    for (const [, id] of code(name).matchAll(/\b(?:byId|button)\("([a-z-]+)"/gi)) assert.ok(ids.has(id), `${name}: #${id}`);
  }
});
