/**
 * Browsers record without knowing how long it will last, and leave that out of the file: players then
 * show no length and cannot seek. It is written into the head of the file afterwards.
 *
 * WebM gets an element "Duration" in its information, MP4 the length in the heads of movie and tracks.
 */

/** Everything of interest is before the first picture. */
const HEAD_BYTES = 64 * 1024;
const EBML = { head: 0x1a45dfa3, segment: 0x18538067, info: 0x1549a966, scale: 0x2ad7b1, duration: 0x4489 };
const DEFAULT_SCALE_NS = 1_000_000;
const NS_PER_S = 1e9;
/** Boxes whose contents are boxes. */
const MP4_PARENTS = new Set(["moov", "trak", "mvex"]);

/**
 * @param {Blob} file     as a MediaRecorder gives it
 * @param {number} seconds
 * @returns {Promise<Blob>} the same, with its length in it where it had none
 */
export async function withLength(file, seconds) {
  const head = new Uint8Array(await file.slice(0, HEAD_BYTES).arrayBuffer());
  const written = head[0] === 0x1a ? webmWithLength(head, seconds) : mp4WithLength(head, seconds);
  return new Blob([written, file.slice(head.length)], { type: file.type });
}

/**
 * @param {Uint8Array<ArrayBuffer>} head
 * @param {number} seconds
 * @returns {Uint8Array<ArrayBuffer>} unchanged where it is not as expected
 */
export function webmWithLength(head, seconds) {
  const ebml = element(head, 0);
  const segment = ebml?.id === EBML.head ? element(head, ebml.end) : null;
  if (segment?.id !== EBML.segment || !segment.endless) return head;
  // What would stand before it, a list of places, would no longer be right.
  const info = element(head, segment.start);
  if (info?.id !== EBML.info || info.end > head.length) return head;
  const parts = children(head, info);
  if (parts.some(({ id }) => id === EBML.duration)) return head;
  const scale = parts.find(({ id }) => id === EBML.scale);
  const scaleNs = scale ? number(head.subarray(scale.start, scale.end)) : DEFAULT_SCALE_NS;
  const duration = new Uint8Array(11);
  duration.set([0x44, 0x89, 0x88]);
  new DataView(duration.buffer).setFloat64(3, (seconds * NS_PER_S) / scaleNs);
  const size = new Uint8Array(8);
  new DataView(size.buffer).setBigUint64(0, BigInt(info.end - info.start + duration.length) | (1n << 56n));
  return joined([
    head.subarray(0, info.at + 4), size, head.subarray(info.start, info.end), duration, head.subarray(info.end),
  ]);
}

/**
 * @param {Uint8Array<ArrayBuffer>} head
 * @param {number} seconds
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function mp4WithLength(head, seconds) {
  const written = head.slice();
  const view = new DataView(written.buffer);
  const boxes = [...mp4Boxes(view, 0, written.length)];
  const movie = boxes.find(({ name }) => name === "mvhd");
  if (!movie) return head;
  const wide = view.getUint8(movie.at) === 1;
  const perSecond = view.getUint32(movie.at + (wide ? 20 : 12));
  for (const { name, at } of boxes) fill(view, name, at, Math.round(seconds * perSecond));
  return written;
}

/** Where a head of MP4 has its length, narrow or wide. @type {Record<string, [number, number]>} */
const LENGTH_AT = { mvhd: [16, 24], tkhd: [20, 28], mehd: [4, 4] };

/** @param {DataView} view @param {string} name @param {number} at @param {number} length */
function fill(view, name, at, length) {
  const places = LENGTH_AT[name];
  if (!places) return;
  const wide = view.getUint8(at) === 1;
  const place = at + places[Number(wide)];
  if (wide && view.getBigUint64(place) === 0n) view.setBigUint64(place, BigInt(length));
  if (!wide && view.getUint32(place) === 0) view.setUint32(place, length);
}

/**
 * @param {DataView} view
 * @param {number} start
 * @param {number} end
 * @returns {Generator<{name: string, at: number}>} boxes with where their contents begin
 */
function* mp4Boxes(view, start, end) {
  for (let at = start; at + 8 <= end;) {
    const size = view.getUint32(at);
    const name = String.fromCharCode(...new Uint8Array(view.buffer, at + 4, 4));
    if (size < 8 || at + size > end) return;
    yield { name, at: at + 8 };
    if (MP4_PARENTS.has(name)) yield* mp4Boxes(view, at + 8, at + size);
    at += size;
  }
}

/**
 * @typedef {{id: number, at: number, start: number, end: number, endless: boolean}} Element
 *
 * @param {Uint8Array} bytes
 * @param {number} at
 * @returns {Element | null} null where there is none
 */
function element(bytes, at) {
  if (at >= bytes.length || bytes[at] === 0) return null;
  const idLength = Math.clz32(bytes[at]) - 23;
  const first = bytes[at + idLength];
  if (!first) return null;
  const sizeLength = Math.clz32(first) - 23;
  const start = at + idLength + sizeLength;
  if (start > bytes.length) return null;
  const size = bytes.slice(at + idLength, start);
  size[0] &= 0xff >> sizeLength;
  const endless = size[0] === 0xff >> sizeLength && size.subarray(1).every((byte) => byte === 0xff);
  return { id: number(bytes.subarray(at, at + idLength)), at, start, end: endless ? bytes.length : start + number(size), endless };
}

/** @param {Uint8Array} bytes @param {Element} parent */
function children(bytes, parent) {
  const found = [];
  for (let child = element(bytes, parent.start); child && child.end <= parent.end; child = element(bytes, child.end)) {
    found.push(child);
    if (child.end === parent.end) break;
  }
  return found;
}

/** @param {Uint8Array} bytes @returns {number} big-endian */
function number(bytes) {
  return bytes.reduce((sum, byte) => sum * 256 + byte, 0);
}

/** @param {Uint8Array[]} parts @returns {Uint8Array<ArrayBuffer>} */
function joined(parts) {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
