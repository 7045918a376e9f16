/**
 * Wire protocol v1: the binary media header and the reading of messages, whose shapes are in messages.d.ts.
 *
 * tests/fixtures/protocol_vectors.json is read by the tests of the page, the server and the Python
 * client, so that they cannot drift apart.
 */

export const VERSION = 1;
export const HEADER_BYTES = 32;
export const AUDIO_IN_RATE = 16_000;
export const MAX_PROMPT_CHARS = 500;
export const MAX_POINTS_PER_MESSAGE = 64;
/** What the protocol permits; a model may hold fewer. */
export const MAX_LIVE_TRACKS = 16;
/** What a stream does before anything is known of it. @type {State} */
export const SILENT = {
  type: "state", received: false, talking: false, paused: false, queued_audio_ms: 0, scene: "", pts_us: 0,
};
/** The scene that a stream's own picture is. */
export const OWN_PICTURE = "picture";

export const KIND = Object.freeze({ video: 1, audioOut: 2, audioIn: 16, videoIn: 17 });
export const FLAG = Object.freeze({ key: 1, discontinuity: 2, lastOfChunk: 4 });

/**
 * @import { ServerMessage, State } from "./messages.js"
 *
 * @typedef {object} Packet  One media packet; times in the unit their name says.
 * @property {number} kind
 * @property {number} flags
 * @property {number} seq
 * @property {number} ptsUs       media time, 0 at the start of the stream
 * @property {number} chunk
 * @property {number} generation  grows when the codec or the size changes
 * @property {number} serverMs    the server's clock when the frame was ready
 * @property {Uint8Array<ArrayBuffer>} payload
 */

/** A message or packet that does not follow protocol v1. */
export class ProtocolError extends Error {}

/**
 * Read the header of a binary message; the payload is a view, not a copy.
 *
 * @param {ArrayBuffer} buffer
 * @returns {Packet}
 * @throws {ProtocolError} when it is too short or of another version
 */
export function parsePacket(buffer) {
  if (buffer.byteLength < HEADER_BYTES) {
    throw new ProtocolError(`packet of ${buffer.byteLength} bytes; a header alone is ${HEADER_BYTES}`);
  }
  const view = new DataView(buffer);
  const version = view.getUint8(0);
  if (version !== VERSION) throw new ProtocolError(`packet of version ${version}; known: ${VERSION}`);
  return {
    kind: view.getUint8(1),
    flags: view.getUint16(2, true),
    seq: view.getUint32(4, true),
    ptsUs: view.getFloat64(8, true),
    chunk: view.getUint32(16, true),
    generation: view.getUint32(20, true),
    serverMs: view.getFloat64(24, true),
    payload: new Uint8Array(buffer, HEADER_BYTES),
  };
}

/**
 * @param {Pick<Packet, "kind" | "seq" | "ptsUs"> & Partial<Packet>} packet
 * @returns {ArrayBuffer} header and payload
 */
export function packPacket({ kind, flags = 0, seq, ptsUs, chunk = 0, generation = 0, serverMs = 0, payload }) {
  const buffer = new ArrayBuffer(HEADER_BYTES + (payload?.byteLength ?? 0));
  const view = new DataView(buffer);
  view.setUint8(0, VERSION);
  view.setUint8(1, kind);
  view.setUint16(2, flags, true);
  view.setUint32(4, seq, true);
  view.setFloat64(8, ptsUs, true);
  view.setUint32(16, chunk, true);
  view.setUint32(20, generation, true);
  view.setFloat64(24, serverMs, true);
  if (payload) new Uint8Array(buffer, HEADER_BYTES).set(payload);
  return buffer;
}

/**
 * Speech for the server: PCM s16le mono at 16 kHz.
 *
 * @param {number} seq
 * @param {number} ptsUs  capture time of the first sample, on the page's own clock
 * @param {Int16Array} samples
 */
export function packAudioIn(seq, ptsUs, samples) {
  const payload = new Uint8Array(samples.length * 2);
  const view = new DataView(payload.buffer);
  samples.forEach((sample, index) => view.setInt16(index * 2, sample, true));
  return packPacket({ kind: KIND.audioIn, seq, ptsUs, payload });
}

/**
 * The samples of an audio packet.
 *
 * @param {Packet} packet
 * @returns {Int16Array<ArrayBuffer>}
 */
export function audioSamples(packet) {
  const { buffer, byteOffset, byteLength } = packet.payload;
  const view = new DataView(buffer, byteOffset, byteLength);
  return Int16Array.from({ length: byteLength >> 1 }, (_, index) => view.getInt16(index * 2, true));
}

/**
 * @param {string} text
 * @returns {ServerMessage}
 * @throws {ProtocolError} when it is not a JSON object with a type
 */
export function parseMessage(text) {
  let message;
  try {
    message = JSON.parse(text);
  } catch {
    throw new ProtocolError("control message is not JSON");
  }
  if (message === null || typeof message !== "object" || typeof message.type !== "string") {
    throw new ProtocolError("control message has no type");
  }
  return message;
}
