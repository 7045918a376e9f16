import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import {
  AUDIO_IN_RATE, audioSamples, HEADER_BYTES, KIND, MAX_LIVE_TRACKS, MAX_POINTS_PER_MESSAGE, MAX_PROMPT_CHARS,
  packAudioIn, packPacket, parseMessage, parsePacket, ProtocolError,
} from "../../../../client/web/net/protocol.js";

const vectors = JSON.parse(readFileSync(new URL("../../../fixtures/protocol_vectors.json", import.meta.url), "utf8"));

const fromHex = (hex) => Uint8Array.from(Buffer.from(hex, "hex")).buffer;
const toHex = (buffer) => Buffer.from(buffer).toString("hex");

for (const { name, hex, fields } of vectors.packets) {
  test(`reads packet: ${name}`, () => {
    const packet = parsePacket(fromHex(hex));
    assert.equal(toHex(packet.payload), fields.payload_hex);
    const { kind, flags, seq, ptsUs, chunk, generation, serverMs } = packet;
    assert.deepEqual(
      { kind, flags, seq, pts_us: ptsUs, chunk, generation, server_ms: serverMs, payload_hex: fields.payload_hex },
      fields,
    );
  });

  test(`writes packet: ${name}`, () => {
    const packet = {
      kind: fields.kind, flags: fields.flags, seq: fields.seq, ptsUs: fields.pts_us, chunk: fields.chunk,
      generation: fields.generation, serverMs: fields.server_ms, payload: new Uint8Array(fromHex(fields.payload_hex)),
    };
    assert.equal(toHex(packPacket(packet)), hex);
  });
}

test("audio from the client is the golden packet", () => {
  const { hex, fields } = vectors.packets.find(({ fields: { kind } }) => kind === KIND.audioIn);
  const payload = Buffer.from(fields.payload_hex, "hex");
  const samples = Int16Array.from({ length: payload.length / 2 }, (_, index) => payload.readInt16LE(index * 2));
  assert.equal(toHex(packAudioIn(fields.seq, fields.pts_us, samples)), hex);
});

test("audio samples survive the way there and back", () => {
  const samples = Int16Array.from([0, 1, -1, 32767, -32768, 256]);
  assert.deepEqual(audioSamples(parsePacket(packAudioIn(3, 20_000, samples))), samples);
});

test("a payload of odd length loses its half sample, not the packet", () => {
  const packet = parsePacket(packPacket({ kind: KIND.audioOut, seq: 0, ptsUs: 0, payload: new Uint8Array([1, 0, 9]) }));
  assert.deepEqual([...audioSamples(packet)], [1]);
});

test("a short or foreign packet is a ProtocolError", () => {
  assert.throws(() => parsePacket(new ArrayBuffer(HEADER_BYTES - 1)), ProtocolError);
  const foreign = packPacket({ kind: KIND.video, seq: 0, ptsUs: 0 });
  new Uint8Array(foreign)[0] = 2;
  assert.throws(() => parsePacket(foreign), ProtocolError);
});

for (const text of ["", "[]", "null", "7", "{}", '{"type": 3}', "{", '"hello"']) {
  test(`${JSON.stringify(text)} is no message`, () => assert.throws(() => parseMessage(text), ProtocolError));
}

for (const message of vectors.server_messages) {
  test(`reads server message ${message.type}`, () => {
    assert.deepEqual(parseMessage(JSON.stringify(message)), message);
  });
}

for (const message of vectors.unknown_server_messages) {
  test(`a message of the unknown type ${message.type} is no mistake`, () => {
    assert.equal(parseMessage(JSON.stringify(message)).type, message.type);
  });
}

for (const { name, hex } of vectors.unknown_server_packets) {
  test(`a packet is no mistake: ${name}`, () => {
    assert.ok(!Object.values(KIND).includes(parsePacket(fromHex(hex)).kind));
  });
}

for (const [text, same] of vectors.equal_client_messages) {
  test(`two ways to write a message are one: ${text}`, () => assert.deepEqual(JSON.parse(text), JSON.parse(same)));
}

test("the limits are the server's", () => {
  const { limits, models } = vectors.server_messages.find(({ type }) => type === "hello");
  assert.equal(MAX_PROMPT_CHARS, limits.max_prompt_chars);
  assert.equal(MAX_POINTS_PER_MESSAGE, limits.max_points);
  assert.equal(MAX_LIVE_TRACKS, models[0].inputs.tracks.max_tracks);
  assert.equal(AUDIO_IN_RATE, 16_000);
});
