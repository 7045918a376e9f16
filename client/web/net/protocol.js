/**
 * Wire protocol v1: the binary media header and the shapes of the JSON messages.
 *
 * This is the page's mirror of server/protocol/messages.py; tests/fixtures/protocol_vectors.json is read by
 * the tests of both, so that they cannot drift apart.
 */

export const VERSION = 1;
export const HEADER_BYTES = 32;
export const AUDIO_IN_RATE = 16_000;
export const MAX_PROMPT_CHARS = 500;
export const MAX_POINTS_PER_MESSAGE = 64;
export const MAX_LIVE_TRACKS = 16;
/** The scene that a stream's own picture is. */
export const OWN_PICTURE = "picture";

export const KIND = Object.freeze({ video: 1, audioOut: 2, audioIn: 16 });
export const FLAG = Object.freeze({ key: 1, discontinuity: 2, lastOfChunk: 4 });

/**
 * @typedef {"h264" | "vp8" | "jpeg"} Codec
 * @typedef {"down" | "move" | "up" | "anchor"} TrackPhase
 * @typedef {{id: number, phase: TrackPhase, x: number, y: number}} TrackPoint
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
 *
 * @typedef {{name: string, title: string, kind: "avatar" | "scene", thumbnail?: string | null}} SceneInfo
 *
 * @typedef {{size: number, eyes: [number, number][], mouth: [number, number]}} PictureGuide
 *   how a face should lie in a picture of `size` pixels a side; x and y in 0..1
 *
 * @typedef {object} ModelInfo
 * @property {string} name
 * @property {string} [title]
 * @property {number} width
 * @property {number} height
 * @property {number} fps
 * @property {number} chunk_frames
 * @property {number} sample_rate
 * @property {SceneInfo[]} scenes
 * @property {string[]} prompts
 * @property {string[]} controls
 * @property {PictureGuide | null} [picture]  a stream may bring a picture of its own
 *
 * @typedef {{type: "hello", version: number, server: string, models: ModelInfo[], codecs: Codec[],
 *   limits: Record<string, number>}} ServerHello
 * @typedef {{type: "session.ready", session_id: string, resume_token: string, model: string,
 *   scene: string, prompt: string, seed: number, has_picture?: boolean, width: number, height: number, fps: number,
 *   chunk_frames: number, sample_rate: number, lookahead_ms: number, codec: Codec,
 *   codec_string: string, generation: number, next_seq: number, resumed: boolean,
 *   grace_s: number}} SessionReady
 * @typedef {{type: "applied", event_id: string, chunk: number, pts_us: number,
 *   position_us?: number | null, ignored_words?: string[] | null, scene?: string | null}} Applied
 * @typedef {{type: "rejected", event_id: string, code: string, field?: string | null,
 *   message: string, hint?: string | null}} Rejected
 * @typedef {{type: "state", received: boolean, talking: boolean, paused: boolean,
 *   queued_audio_ms: number, scene: string, pts_us: number}} StreamState
 * @typedef {{type: "stats", chunk: number, fps: number, lead_ms: number, chunk_time_ms: number,
 *   rtf: number, kbps: number, skipped_frames: number, sessions: number,
 *   queued_audio_ms: number}} Stats
 * @typedef {{type: "pong", t_ms: number, server_ms: number}} Pong
 * @typedef {{type: "draining", retry_after_s: number}} Draining
 * @typedef {{type: "engine.restarting", retry_after_s: number}} EngineRestarting
 * @typedef {{type: "error", code: string, message: string, field?: string | null,
 *   hint?: string | null, fatal: boolean, retry_after_s?: number | null}} ErrorMessage
 * @typedef {ServerHello | SessionReady | Applied | Rejected | StreamState | Stats | Pong | Draining
 *   | EngineRestarting
 *   | ErrorMessage} ServerMessage
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
