import assert from "node:assert/strict";
import { test } from "node:test";

import { explainAnswer, findObstacle } from "../../../../client/web/net/handshake.js";

const NONE = () => "";

test("what answers in place of a WebSocket is said with a cure", () => {
  assert.match(explainAnswer(426, 0).hint, /Upgrade/);
  assert.match(explainAnswer(404, 0).hint, /Upgrade/);
  assert.match(explainAnswer(200, 0).message, /does not get through/);
  assert.match(explainAnswer(426, 9_000).hint, /cookies/);
  assert.match(explainAnswer(431, 0).hint, /cookies/);
  assert.match(explainAnswer(421, 0).hint, /--allow-host/);
  assert.match(explainAnswer(503, 0).hint, /not up yet/);
});

test("the stream's own address is asked over HTTP", async (t) => {
  const asked = [];
  t.mock.method(globalThis, "fetch", async (url, options) => {
    asked.push([url, options.redirect]);
    return { status: 426, type: "basic" };
  });
  assert.equal((await findObstacle("wss://host/prefix/v1/stream", NONE)).code, "no_socket");
  assert.deepEqual(asked, [["https://host/prefix/v1/stream", "manual"]]);
});

test("a redirect is a login, and silence is no answer", async (t) => {
  t.mock.method(globalThis, "fetch", async () => ({ status: 0, type: "opaqueredirect" }));
  assert.match((await findObstacle("ws://host/v1/stream", NONE)).message, /login/);
  t.mock.method(globalThis, "fetch", async () => {
    throw new TypeError("failed to fetch");
  });
  assert.equal(await findObstacle("ws://host/v1/stream", NONE), null);
});

test("long cookies are named, and those that may not be read do no harm", async (t) => {
  t.mock.method(globalThis, "fetch", async () => ({ status: 426, type: "basic" }));
  assert.match((await findObstacle("ws://host/v1/stream", () => "x".repeat(9_000))).hint, /cookies/);
  const forbidden = () => {
    throw new DOMException("blocked", "SecurityError");
  };
  assert.match((await findObstacle("ws://host/v1/stream", forbidden)).hint, /Upgrade/);
});
