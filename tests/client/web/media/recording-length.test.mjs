import assert from "node:assert/strict";
import { test } from "node:test";

import { mp4WithLength, webmWithLength, withLength } from "../../../../client/web/media/recording-length.js";

const bytes = (...parts) => Uint8Array.from(parts.flat(9).map((part) => (typeof part === "string" ? [...part].map((c) => c.charCodeAt(0)) : part)).flat());
const ebml = (id, content) => [...id, 0x80 | content.length, ...content];
const HEAD = ebml([0x1a, 0x45, 0xdf, 0xa3], [0x42, 0x86, 0x81, 1]);
const ENDLESS = [0x18, 0x53, 0x80, 0x67, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
const SCALE = [0x2a, 0xd7, 0xb1, 0x83, 0x0f, 0x42, 0x40];
const APP = ebml([0x57, 0x41], [..."test"].map((c) => c.charCodeAt(0)));
const INFO = ebml([0x15, 0x49, 0xa9, 0x66], [...SCALE, ...APP]);
const TRACKS = ebml([0x16, 0x54, 0xae, 0x6b], [0xec, 0x81, 0]);
const WEBM = bytes(HEAD, ENDLESS, INFO, TRACKS);

/** A reader of its own: id -> content of the children of the segment's first element. */
function infoOf(file) {
  const at = HEAD.length + ENDLESS.length;
  assert.deepEqual([...file.subarray(at, at + 4)], [0x15, 0x49, 0xa9, 0x66]);
  const size = Number(new DataView(file.buffer, file.byteOffset + at + 4).getBigUint64(0) & ((1n << 56n) - 1n));
  return { content: file.subarray(at + 12, at + 12 + size), rest: file.subarray(at + 12 + size) };
}

test("a WebM gets its length, and everything else stays", () => {
  const { content, rest } = infoOf(webmWithLength(WEBM, 12.5));
  assert.deepEqual([...content.subarray(0, SCALE.length + APP.length)], [...SCALE, ...APP]);
  const duration = content.subarray(SCALE.length + APP.length);
  assert.deepEqual([...duration.subarray(0, 3)], [0x44, 0x89, 0x88]);
  assert.equal(new DataView(duration.buffer, duration.byteOffset + 3).getFloat64(0), 12_500);
  assert.deepEqual([...rest], TRACKS);
});

test("a WebM that has one, or is not as expected, is left alone", () => {
  const once = webmWithLength(WEBM, 3);
  assert.equal(webmWithLength(once, 9), once);
  for (const end of [0, 3, HEAD.length + 2, HEAD.length + ENDLESS.length + 9]) {
    const cut = WEBM.slice(0, end);
    assert.equal(webmWithLength(cut, 3), cut);
  }
});

const u32 = (value) => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
const box = (name, ...content) => {
  const inner = bytes(content);
  return [...u32(inner.length + 8), ...bytes(name), ...inner];
};
const MP4 = bytes(
  box("ftyp", "isom"),
  box("moov",
    box("mvhd", u32(0), u32(0), u32(0), u32(1000), u32(0), u32(0)),
    box("trak", box("tkhd", u32(0), u32(0), u32(0), u32(1), u32(0), u32(0))),
    box("mvex", box("mehd", u32(0), u32(0)))),
  box("moof", u32(7)),
);

test("an MP4 gets its length in the heads of movie and tracks", () => {
  const written = mp4WithLength(MP4, 2.5);
  assert.equal(written.length, MP4.length);
  const changed = [...written].flatMap((byte, at) => (byte === MP4[at] ? [] : [at >> 2]));
  assert.equal(new Set(changed).size, 3);
  assert.equal(Buffer.from(written).toString("latin1").split(Buffer.from(u32(2500)).toString("latin1")).length, 4);
  assert.deepEqual(mp4WithLength(written, 9), written);
});

test("what follows the head of a long file is passed on", async () => {
  const tail = new Uint8Array(200_000).fill(7);
  const file = await withLength(new Blob([WEBM, tail], { type: "video/webm" }), 1);
  assert.equal(file.type, "video/webm");
  assert.equal(file.size, WEBM.length + tail.length + 11 + 7);
  const rubbish = await withLength(new Blob([tail]), 1);
  assert.deepEqual(new Uint8Array(await rubbish.arrayBuffer()), tail);
});
