import assert from "node:assert/strict";
import test from "node:test";

import { FallbackSocket, takesWebRtc, transportFrom } from "../../../../client/web/net/transport.js";
import { FakeSocket } from "../fakes.mjs";

const HERE = { peers: true, codecs: true, loopback: true };
const PLAIN = { peers: true, codecs: false, loopback: false };

test("the user's choice counts where it can", () => {
  assert.equal(takesWebRtc("webrtc", { available: true }, HERE), true);
  assert.equal(takesWebRtc("websocket", { available: true }, PLAIN), false);
  assert.equal(takesWebRtc("webrtc", { available: false }, HERE), false);
  assert.equal(takesWebRtc("webrtc", { available: true }, { ...HERE, peers: false }), false);
});

test("left to itself the page takes it in place of JPEG, and only where it is reached", () => {
  assert.equal(takesWebRtc("auto", { available: true }, HERE), false);
  assert.equal(takesWebRtc("auto", { available: true }, PLAIN), true);
  assert.equal(takesWebRtc("auto", { available: true, loopback: true }, PLAIN), false);
  assert.equal(takesWebRtc("auto", { available: true, loopback: true }, { ...PLAIN, loopback: true }), true);
});

test("the address may say it", () => {
  assert.equal(transportFrom("?transport=webrtc&model=x"), "webrtc");
  assert.equal(transportFrom("?transport=pigeon"), null);
  assert.equal(transportFrom(""), null);
});

function fallback() {
  const peer = new FakeSocket(), websocket = new FakeSocket();
  const told = [];
  const socket = new FallbackSocket(() => peer, () => websocket, () => told.push("fallback"));
  socket.onopen = () => told.push("open");
  socket.onmessage = ({ data }) => told.push(data);
  socket.onclose = ({ code }) => told.push(code);
  return { peer, websocket, socket, told };
}

test("a peer that opens is the socket, and its loss is the socket's", () => {
  const { peer, websocket, socket, told } = fallback();
  peer.open();
  socket.send('{"type":"ping"}');
  assert.deepEqual(peer.sent, [{ type: "ping" }]);
  peer.say("x");
  peer.drop();
  assert.deepEqual(told, ["open", "x", 1006]);
  assert.equal(websocket.sent.length, 0);
});

test("a peer that does not open gives way unseen", () => {
  const { peer, websocket, socket, told } = fallback();
  socket.send('{"type":"early"}');
  peer.drop();
  websocket.open();
  socket.send('{"type":"hello"}');
  assert.deepEqual(websocket.sent, [{ type: "hello" }]);
  websocket.drop(4408);
  assert.deepEqual(told, ["fallback", "open", 4408]);
});

test("a socket that was closed opens no other", () => {
  const { peer, socket, told } = fallback();
  socket.close();
  assert.equal(peer.closed, true);
  peer.onclose({ code: 1006 });
  assert.deepEqual(told, []);
});
