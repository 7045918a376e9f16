import assert from "node:assert/strict";
import { test } from "node:test";

import { MAX_ATTEMPTS, MAX_REFUSALS } from "../../../../client/web/net/backoff.js";
import { Connection } from "../../../../client/web/net/connection.js";
import { KIND, packPacket } from "../../../../client/web/net/protocol.js";
import { SessionStore } from "../../../../client/web/net/storage.js";
import { FakeSocket, FakeStorage, FakeTime } from "../fakes.mjs";

const HELLO = { type: "hello", version: 1, server: "test/1", models: [], codecs: ["jpeg"], limits: {} };
const READY = { type: "session.ready", session_id: "s1", resume_token: "t1", resumed: false, next_seq: 0 };

function setUp({ wish = {}, sound = undefined, token = null, watch = null, storage = new FakeStorage(), obstacle = null } = {}) {
  const time = new FakeTime();
  const world = { time, sockets: [], states: [], ready: [], messages: [], packets: [], storage };
  world.store = new SessionStore(() => storage);
  const env = {
    openSocket: () => world.sockets[world.sockets.push(new FakeSocket()) - 1],
    setTimer: time.setTimer, clearTimer: time.clearTimer, nowMs: time.now, random: () => 0.5,
    store: world.store, clientName: "test",
    findObstacle: async () => obstacle,
  };
  world.connection = new Connection(env, {
    onState: (state) => world.states.push(state),
    onHello: () => {},
    onReady: (ready) => world.ready.push(ready),
    onMessage: (message) => world.messages.push(message),
    onPacket: (packet) => world.packets.push(packet),
  }, { codecs: ["h264", "jpeg"], sound, token, wish, watch });
  Object.defineProperty(world, "socket", { get: () => world.sockets.at(-1) });
  Object.defineProperty(world, "state", { get: () => world.connection.state });
  world.goLive = (ready = READY) => {
    world.socket.open();
    world.socket.say(HELLO);
    world.socket.say(ready);
  };
  world.connection.open();
  return world;
}

const error = (code, more = {}) => ({ type: "error", code, message: `it is ${code}`, hint: "do this", fatal: true, ...more });

test("hello, create, ready: live", () => {
  const world = setUp({ wish: { scene: "grid" }, token: "secret" });
  assert.equal(world.state.phase, "connecting");
  world.goLive();
  assert.deepEqual(world.socket.sent.slice(0, 2), [
    { type: "hello", versions: [1], client: "test", codecs: ["h264", "jpeg"], audio: true, token: "secret" },
    { type: "session.create", scene: "grid" },
  ]);
  assert.equal(world.state.phase, "live");
  assert.deepEqual(world.store.load(), { sessionId: "s1", resumeToken: "t1", lastSeq: -1 });
});

test("nothing can be sent before it is live", () => {
  const world = setUp();
  assert.equal(world.connection.send({ type: "key" }), false);
  world.socket.open();
  assert.equal(world.connection.send({ type: "key" }), false);
  assert.equal(world.connection.sendMedia(new ArrayBuffer(4), 1000), false);
});

test("a cut connection is resumed from the last frame shown", () => {
  const world = setUp();
  world.goLive();
  world.store.noteShown(41);
  world.socket.drop();
  assert.equal(world.state.phase, "reconnecting");
  assert.equal(world.state.attempt, 1);
  assert.equal(world.state.retryAtMs, 300);
  world.time.advance(300);
  world.socket.open();
  world.socket.say(HELLO);
  assert.deepEqual(world.socket.last("session.resume"), {
    type: "session.resume", session_id: "s1", resume_token: "t1", last_seq: 41,
  });
  world.socket.say({ ...READY, resumed: true, next_seq: 42 });
  assert.equal(world.state.phase, "live");
  assert.equal(world.store.load().lastSeq, 41);
});

test("a page that is loaded again resumes too", () => {
  const storage = new FakeStorage();
  setUp({ storage }).goLive();
  const reloaded = setUp({ storage });
  reloaded.socket.open();
  reloaded.socket.say(HELLO);
  assert.equal(reloaded.socket.last("session.resume").session_id, "s1");
});

for (const code of ["unknown_session", "session_expired", "wrong_resume_token"]) {
  for (const fatal of [true, false]) {
    test(`${code}, ${fatal ? "fatal" : "on the same socket"}: a new stream is opened`, () => {
      const world = setUp();
      world.goLive();
      world.socket.drop();
      world.time.advance(300);
      world.socket.open();
      world.socket.say(HELLO);
      world.socket.say(error(code, { fatal }));
      if (fatal) {
        world.socket.open();
        world.socket.say(HELLO);
      }
      assert.equal(world.socket.last("session.create")?.type, "session.create");
      world.socket.say({ ...READY, session_id: "s2" });
      assert.equal(world.store.load().sessionId, "s2");
    });
  }
}

test("a scene or model that is gone is replaced by the server's choice", () => {
  const world = setUp({ wish: { scene: "gone" } });
  world.socket.open();
  world.socket.say(HELLO);
  world.socket.say(error("unknown_scene", { fatal: false }));
  assert.deepEqual(world.socket.last("session.create"), { type: "session.create" });
});

test("a stream that cannot be opened at all is refused in the server's words", () => {
  const world = setUp();
  world.socket.open();
  world.socket.say(HELLO);
  world.socket.say(error("unsupported_codec", { fatal: false }));
  assert.equal(world.state.phase, "refused");
  assert.equal(world.state.message, "it is unsupported_codec");
  assert.ok(world.socket.closed);
});

test("a resume that the server finds faulty becomes a new stream", () => {
  const storage = new FakeStorage();
  new SessionStore(() => storage).save({ sessionId: "s0", resumeToken: "t0", lastSeq: 999 });
  const world = setUp({ storage });
  world.socket.open();
  world.socket.say(HELLO);
  world.socket.say(error("invalid_field", { fatal: false, field: "last_seq" }));
  assert.deepEqual(world.socket.last("session.create"), { type: "session.create" });
});

test("the delay grows with each attempt and stops at the limit", () => {
  const world = setUp();
  const delays = [];
  for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt += 1) {
    world.socket.drop();
    assert.equal(world.state.attempt, attempt);
    delays.push(world.state.retryAtMs - world.time.nowMs);
    world.time.advance(delays.at(-1));
  }
  assert.deepEqual([...delays].sort((a, b) => a - b), delays);
  world.socket.drop();
  assert.equal(world.state.phase, "refused");
  assert.equal(world.state.code, "unreachable");
  assert.equal(world.state.retryAtMs, null);
  world.time.advance(60_000);
  assert.equal(world.sockets.length, MAX_ATTEMPTS + 1);
  world.connection.retryNow();
  world.goLive();
  assert.equal(world.state.phase, "live");
});

test("a server that fails right after ready is not hammered", () => {
  const world = setUp();
  world.goLive();
  for (let attempt = 1; attempt <= 3; attempt += 1) {
    world.time.advance(100);
    world.socket.drop();
    assert.equal(world.state.attempt, attempt);
    world.time.advance(world.state.retryAtMs - world.time.nowMs);
    world.goLive({ ...READY, resumed: true });
  }
});

test("after a steady time the count starts again", () => {
  const world = setUp();
  world.socket.drop();
  world.time.advance(300);
  world.goLive();
  for (let second = 0; second < 6; second += 1) {
    world.time.advance(1000);
    world.socket.say({ type: "pong", t_ms: 0, server_ms: 0 });
  }
  world.socket.drop();
  assert.equal(world.state.attempt, 1);
});

test("a full server is asked again when it said, and not earlier", () => {
  const world = setUp();
  world.socket.open();
  world.socket.say(HELLO);
  world.socket.say(error("capacity", { retry_after_s: 5 }));
  world.socket.drop(4429);
  assert.equal(world.state.phase, "refused");
  assert.equal(world.state.code, "capacity");
  assert.equal(world.state.message, "it is capacity");
  assert.ok(world.state.retryAtMs >= 5_000);
  world.time.advance(4_999);
  assert.equal(world.sockets.length, 1);
  world.time.advance(2_000);
  assert.equal(world.sockets.length, 2);
});

const QUEUED = { type: "queued", position: 2, eta_s: 40, ticket: "k1" };

test("a page waits for its turn as long as it hears of it, and then plays", () => {
  const world = setUp();
  world.goLive(QUEUED);
  assert.deepEqual([world.state.phase, world.state.position, world.state.etaS], ["queued", 2, 40]);
  for (let told = 0; told < 20; told += 1) {
    world.time.advance(14_000);
    world.socket.say({ ...QUEUED, position: 1, eta_s: undefined });
  }
  assert.equal(world.sockets.length, 1, "nothing was given up");
  assert.deepEqual([world.state.phase, world.state.position, world.state.etaS], ["queued", 1, null]);
  assert.equal(world.connection.send({ type: "pause" }), false);
  world.socket.say(READY);
  assert.deepEqual([world.state.phase, world.state.position], ["live", null]);
  assert.equal(world.store.ticket, null);
});

test("who waits and is lost, or reloads, comes back to the same turn", () => {
  const world = setUp({ wish: { scene: "grid" } });
  world.goLive(QUEUED);
  world.socket.drop();
  assert.equal(world.state.phase, "reconnecting");
  world.time.advance(300);
  world.socket.open();
  world.socket.say(HELLO);
  assert.deepEqual(world.socket.last("session.create"), { type: "session.create", scene: "grid", ticket: "k1" });
  const reloaded = setUp({ storage: world.storage });
  reloaded.goLive(READY);
  assert.deepEqual(reloaded.socket.last("session.create"), { type: "session.create", ticket: "k1" });
  assert.equal(setUp({ storage: world.storage }).store.ticket, null);
});

test("a server that falls silent while a page waits is tried again", () => {
  const world = setUp();
  world.goLive(QUEUED);
  world.time.advance(15_000);
  assert.equal(world.state.code, "timeout");
});

test("who does not want to wait any more says so, and another wish keeps the turn", () => {
  const world = setUp();
  world.goLive(QUEUED);
  world.connection.restart({ model: "other" });
  world.socket.open();
  world.socket.say(HELLO);
  assert.deepEqual(world.socket.last("session.create"), { type: "session.create", model: "other", ticket: "k1" });
  world.socket.say(QUEUED);
  world.connection.end();
  assert.deepEqual(world.socket.last("session.close"), { type: "session.close" });
  assert.equal(world.store.ticket, null);
});

test("who waited in vain is told so and asks again later", () => {
  const world = setUp();
  world.goLive(QUEUED);
  world.socket.say(error("capacity", { retry_after_s: 15 }));
  world.socket.drop(4429);
  assert.deepEqual([world.state.phase, world.state.code], ["refused", "capacity"]);
  assert.ok(world.state.retryAtMs >= 15_000);
});

test("a page stands in line at a full server for long, but not for ever", () => {
  const world = setUp();
  for (let attempt = 1; attempt <= MAX_REFUSALS; attempt += 1) {
    world.socket.say(error("capacity", { retry_after_s: 5 }));
    world.socket.drop(4429);
    assert.equal(world.state.code, "capacity");
    assert.ok(world.state.retryAtMs - world.time.nowMs <= 6_000);
    world.time.advance(6_000);
  }
  world.socket.say(error("capacity", { retry_after_s: 5 }));
  world.socket.drop(4429);
  assert.equal(world.state.code, "capacity");
  assert.equal(world.state.retryAtMs, null);
});

for (const code of ["unauthorized", "forbidden_origin", "unsupported_version", "replaced"]) {
  test(`${code} is final until the user acts`, () => {
    const world = setUp();
    world.socket.open();
    world.socket.say(error(code));
    world.socket.drop(4400);
    assert.equal(world.state.phase, "refused");
    assert.equal(world.state.retryAtMs, null);
    world.time.advance(120_000);
    assert.equal(world.sockets.length, 1);
  });
}

test("a close code alone says enough", () => {
  const world = setUp();
  world.socket.drop(4401);
  assert.equal(world.state.code, "unauthorized");
  world.connection.useToken("right");
  world.socket.open();
  assert.equal(world.socket.last("hello").token, "right");
});

test("a stream taken over by another tab can be taken back", () => {
  const world = setUp();
  world.goLive();
  world.socket.say(error("replaced"));
  world.socket.drop(4409);
  assert.equal(world.state.code, "replaced");
  world.connection.retryNow();
  world.socket.open();
  world.socket.say(HELLO);
  assert.equal(world.socket.last("session.resume").session_id, "s1");
});

test("a handshake that hangs is given up", () => {
  const world = setUp();
  world.socket.open();
  world.time.advance(14_900); // the server gives up after 10 s and says why
  assert.ok(!world.sockets[0].closed);
  world.time.advance(100);
  assert.ok(world.sockets[0].closed);
  assert.equal(world.state.phase, "refused");
  assert.equal(world.state.code, "timeout");
  assert.notEqual(world.state.retryAtMs, null);
});

test("a handshake goes on while the server says something", () => {
  const world = setUp();
  world.socket.open();
  world.time.advance(12_000);
  world.socket.say(HELLO);
  world.time.advance(12_000);
  world.socket.say({ type: "weather", degrees: [21.5] });
  world.time.advance(12_000);
  assert.equal(world.sockets.length, 1);
  assert.ok(!world.sockets[0].closed);
  world.time.advance(3_000);
  assert.ok(world.sockets[0].closed);
});

test("silence on a live connection is noticed, a slow one is not cut", () => {
  const world = setUp();
  world.goLive();
  for (let second = 0; second < 20; second += 1) {
    world.time.advance(5_000);
    world.socket.say({ type: "pong", t_ms: 0, server_ms: 0 });
  }
  assert.equal(world.state.phase, "live");
  world.time.advance(8_000);
  assert.equal(world.state.phase, "reconnecting");
  assert.ok(world.sockets[0].closed);
});

test("messages of a socket that was given up are not heard", () => {
  const world = setUp();
  world.goLive();
  const old = world.socket;
  world.connection.open();
  assert.equal(old.onmessage, null);
  assert.equal(old.onclose, null);
  assert.ok(old.closed);
});

test("end closes the session, forgets it and does not come back", () => {
  const world = setUp();
  world.goLive();
  world.connection.end();
  assert.equal(world.socket.last("session.close").type, "session.close");
  assert.equal(world.store.load(), null);
  assert.equal(world.state.phase, "ended");
  assert.ok(!world.socket.closed, "the server closes, or the message may be lost");
  world.socket.drop(1000);
  world.time.advance(120_000);
  assert.equal(world.state.phase, "ended");
  assert.equal(world.sockets.length, 1);
});

test("a server that does not close is left after a second", () => {
  const world = setUp();
  world.goLive();
  world.connection.end();
  world.time.advance(1_000);
  assert.ok(world.socket.closed);
  assert.equal(world.state.phase, "ended");
});

test("end while the connection is lost just stops trying", () => {
  const world = setUp();
  world.goLive();
  world.socket.drop();
  world.connection.end();
  world.time.advance(120_000);
  assert.equal(world.sockets.length, 1);
  assert.equal(world.state.phase, "ended");
});

test("suspend keeps the session for later and sends no close", () => {
  const world = setUp();
  world.goLive();
  world.connection.suspend();
  assert.equal(world.socket.last("session.close"), undefined);
  assert.ok(world.socket.closed);
  world.connection.open();
  world.socket.open();
  world.socket.say(HELLO);
  assert.equal(world.socket.last("session.resume").session_id, "s1");
});

test("another model means another session", () => {
  const world = setUp();
  world.goLive();
  world.connection.restart({ model: "pocket" });
  assert.equal(world.sockets[0].last("session.close").type, "session.close");
  assert.equal(world.state.phase, "connecting");
  assert.equal(world.sockets.length, 1, "the place is not free yet");
  world.socket.drop(1000);
  world.socket.open();
  world.socket.say(HELLO);
  assert.deepEqual(world.socket.last("session.create"), { type: "session.create", model: "pocket" });
});

test("other codecs are offered on a new socket for the same session", () => {
  const world = setUp();
  world.goLive();
  world.connection.useCodecs(["jpeg"]);
  world.socket.open();
  world.socket.say(HELLO);
  assert.deepEqual(world.socket.last("hello").codecs, ["jpeg"]);
  assert.equal(world.socket.last("session.resume").session_id, "s1");
});

test("packets reach the player; a server of another version is refused in words", () => {
  const world = setUp();
  world.goLive();
  world.socket.sendBinary(packPacket({ kind: KIND.video, seq: 5, ptsUs: 200_000 }));
  assert.equal(world.packets[0].seq, 5);
  world.socket.sendBinary(new ArrayBuffer(3));
  assert.equal(world.state.code, "bad_server");
  assert.match(world.state.hint, /reload/);
});

test("media is not piled onto a full socket", () => {
  const world = setUp();
  world.goLive();
  world.socket.bufferedAmount = 1001;
  assert.equal(world.connection.sendMedia(new ArrayBuffer(8), 1000), false);
  world.socket.bufferedAmount = 1000;
  assert.equal(world.connection.sendMedia(new ArrayBuffer(8), 1000), true);
});

const OBSTACLE = { code: "no_socket", message: "cookies", hint: "delete them" };

test("a handshake that is refused is explained while it is tried again", async () => {
  const world = setUp({ obstacle: OBSTACLE });
  world.socket.drop();
  await Promise.resolve();
  await Promise.resolve();
  assert.equal(world.state.phase, "reconnecting");
  assert.deepEqual([world.state.code, world.state.message], ["no_socket", "cookies"]);
  world.time.advance(2_000);
  world.goLive();
  assert.deepEqual([world.state.phase, world.state.code, world.state.message], ["live", null, null]);
});

test("a refused handshake is still explained when it is given up", async () => {
  const world = setUp({ obstacle: OBSTACLE });
  while (world.state.phase !== "refused") {
    if (world.socket.onclose) world.socket.drop();
    await new Promise((resolve) => setImmediate(resolve));
    world.time.advance(1_000);
  }
  assert.equal(world.state.phase, "refused");
  assert.equal(world.state.message, "cookies");
});

test("a socket that was open and is lost is no refused handshake", async () => {
  const world = setUp({ obstacle: OBSTACLE });
  world.goLive();
  world.socket.drop();
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(world.state.message, null);
});

test("an image that is wanted is asked for, and the stream opened with it", () => {
  const world = setUp({ wish: { model: "world" } });
  world.socket.open();
  world.socket.say(HELLO);
  world.socket.say(error("invalid_field", { field: "image", fatal: false }));
  assert.equal(world.state.phase, "refused");
  assert.equal(world.state.code, "image_wanted");
  assert.equal(world.socket.closed, true);
  world.connection.restart({ ...world.connection.wish, image: "AAAA" });
  world.goLive();
  assert.deepEqual(world.socket.sent[1], { type: "session.create", model: "world", image: "AAAA" });
});

test("sound as Opus is offered and sent, and a resumed stream's voice stays what it was", () => {
  const world = setUp({ sound: { take: ["opus", "pcm"], send: "opus" } });
  world.goLive();
  assert.deepEqual(world.socket.sent[0].audio_codecs, ["opus", "pcm"]);
  assert.equal(world.socket.sent[1].audio_codec, "opus");
  assert.equal(world.connection.voiceCodec, "opus");
  const later = setUp({ storage: world.storage });
  later.goLive({ ...READY, resumed: true });
  assert.equal(later.socket.sent[1].type, "session.resume");
  assert.equal(later.connection.voiceCodec, "opus");
});

const WATCHING = { type: "session.watching", session_id: "s1", viewers: 1 };

test("who watches says so with the link's token, keeps nothing, and comes back the same way", () => {
  const world = setUp({ watch: "link", token: "own", wish: { scene: "grid" } });
  world.goLive(WATCHING);
  const opening = [world.socket.last("hello").token, world.socket.last("session.watch")];
  assert.deepEqual(opening, ["link", { type: "session.watch" }]);
  assert.equal(world.state.phase, "live");
  assert.equal(world.store.load(), null);
  world.socket.drop();
  world.time.advance(300);
  world.goLive(WATCHING);
  assert.equal(world.state.phase, "live");
  assert.deepEqual(world.socket.last("session.watch"), { type: "session.watch" });
});

for (const [code, told] of [["ended", "watch_over"], ["session_expired", "link_over"], ["unauthorized", "link_over"]]) {
  test(`who watches does not come back after ${code}`, () => {
    const world = setUp({ watch: "link" });
    world.goLive(code === "ended" ? WATCHING : error(code));
    if (code === "ended") world.socket.say(error(code));
    world.socket.drop(4400);
    assert.deepEqual([world.state.phase, world.state.code, world.state.retryAtMs], ["refused", told, null]);
  });
}

test("who finds no seat tries again", () => {
  const world = setUp({ watch: "link" });
  world.goLive(error("capacity", { retry_after_s: 10 }));
  world.socket.drop(4429);
  assert.deepEqual([world.state.phase, world.state.code], ["refused", "capacity"]);
  assert.ok(world.state.retryAtMs > 0);
});
