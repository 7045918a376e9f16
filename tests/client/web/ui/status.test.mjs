import assert from "node:assert/strict";
import { test } from "node:test";

import { describeStatus } from "../../../../client/web/ui/status.js";

const LIVE = { phase: "live", attempt: 0, retryAtMs: null, code: null, message: null, hint: null };
const QUIET = { opened: true, paused: false, draining: false, stalled: false };

test("live needs no curtain", () => {
  const status = describeStatus(LIVE, QUIET, 0);
  assert.deepEqual([status.state, status.label, status.title], ["live", "Live", null]);
});

for (const [name, state] of [["draining", "draining"], ["paused", "paused"], ["stalled", "waiting"]]) {
  test(`${name} is said while live`, () => {
    const status = describeStatus(LIVE, { ...QUIET, [name]: true }, 0);
    assert.equal(status.state, state);
    assert.equal(status.title, null);
  });
}

test("a model that restarts is said while nothing comes, and not afterwards", () => {
  const condition = { ...QUIET, restarting: true };
  assert.equal(describeStatus(LIVE, { ...condition, stalled: true }, 0).label, "Model restarts");
  assert.equal(describeStatus(LIVE, condition, 0).label, "Live");
});

test("reconnecting counts attempts and seconds", () => {
  const connection = { ...LIVE, phase: "reconnecting", attempt: 3, retryAtMs: 10_000 };
  assert.equal(describeStatus(connection, QUIET, 7_900).label, "Reconnecting in 3 s · attempt 3");
  assert.equal(describeStatus({ ...connection, retryAtMs: null }, QUIET, 0).label, "Reconnecting · attempt 3");
});

test("before the first stream a server is awaited, not lost", () => {
  const connection = { ...LIVE, phase: "reconnecting", attempt: 1, retryAtMs: 400 };
  const status = describeStatus(connection, { ...QUIET, opened: false }, 0);
  assert.equal(status.label, "Connecting in 1 s · attempt 1");
  assert.equal(status.title, "The server does not answer yet");
});

test("who stands in line learns for what and for how long", () => {
  const connection = {
    ...LIVE, phase: "refused", attempt: 1, retryAtMs: 5_000, code: "capacity", message: "the model is still loading",
  };
  const status = describeStatus(connection, QUIET, 0);
  assert.deepEqual([status.tone, status.label, status.hint], ["warn", "In line · 5 s", "retry"]);
  assert.deepEqual([status.title, status.detail], ["The model is still loading", "Next attempt in 5 s."]);
});

test("who waits for a place learns how many come first and for how long", () => {
  const said = (position, etaS) => describeStatus({ ...LIVE, phase: "queued", position, etaS }, QUIET, 0);
  const status = said(2, 41.2);
  assert.deepEqual([status.state, status.tone, status.label, status.hint], ["queued", "calm", "In line · 2nd", null]);
  assert.equal(status.title, "You are 2nd, about 40 s");
  assert.ok(status.detail.includes("starts by itself"));
  assert.equal(said(1, null).title, "You are 1st in line");
  assert.deepEqual([1, 3, 4, 11, 12, 13, 21, 102, 112].map((place) => said(place, null).label.slice(10)),
    ["1st", "3rd", "4th", "11th", "12th", "13th", "21st", "102nd", "112th"]);
  assert.deepEqual([0.4, 89, 90, 200].map((etaS) => said(1, etaS).title.slice(13)),
    ["about 5 s", "about 90 s", "about 2 min", "about 3 min"]);
});

test("a refusal says why, when it is tried again, and what to do", () => {
  const connection = {
    ...LIVE, phase: "refused", attempt: 1, retryAtMs: 5_000, code: "engine_failed", message: "the model stopped working",
  };
  const status = describeStatus(connection, QUIET, 0);
  assert.deepEqual([status.tone, status.label, status.hint], ["bad", "Model failed · 5 s", "retry"]);
  assert.equal(status.detail, "The model stopped working. Next attempt in 5 s.");
});

test("a missing token asks for one, another tab offers to take over", () => {
  const refused = { ...LIVE, phase: "refused", hint: "Do that." };
  assert.equal(describeStatus({ ...refused, code: "unauthorized" }, QUIET, 0).hint, "token");
  assert.equal(describeStatus({ ...refused, code: "replaced" }, QUIET, 0).hint, "takeover");
});

test("who is asked for a token is told so in words for people", () => {
  const said = { code: "unauthorized", message: "the token is missing or wrong", hint: "Send the server's token in hello.token." };
  const status = describeStatus({ ...LIVE, phase: "refused", ...said }, QUIET, 0);
  assert.equal(status.title, "This server wants a token");
  assert.doesNotMatch(`${status.detail}`, /hello|Bearer/);
  assert.equal(status.detail, "The token is missing or wrong. Ask whoever runs the server for one.");
});

test("what stands in the way of a handshake is said while it is tried again and after", () => {
  const found = { code: "no_socket", message: "A WebSocket does not get through", hint: "Look at the proxy." };
  for (const phase of ["reconnecting", "refused"]) {
    const status = describeStatus({ ...LIVE, phase, attempt: 2, ...found }, { ...QUIET, opened: false }, 0);
    assert.deepEqual([status.title, status.detail, status.hint], [found.message, found.hint, "retry"]);
  }
});

test("an unknown refusal still shows the server's words", () => {
  const status = describeStatus({ ...LIVE, phase: "refused", code: "new_code", message: "because" }, QUIET, 0);
  assert.equal(status.detail, "Because.");
  assert.equal(status.hint, "retry");
});

test("an ended stream can be started again", () => {
  assert.equal(describeStatus({ ...LIVE, phase: "ended" }, QUIET, 0).hint, "start");
});
