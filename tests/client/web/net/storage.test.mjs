import assert from "node:assert/strict";
import { test } from "node:test";

import { LeftSession, PreferenceStore, SessionStore } from "../../../../client/web/net/storage.js";
import { FakeStorage } from "../fakes.mjs";

const SESSION = { sessionId: "s1", resumeToken: "t1", lastSeq: 7 };

test("a session survives a reload and is gone after clear", () => {
  const area = new FakeStorage();
  new SessionStore(() => area).save(SESSION);
  const reloaded = new SessionStore(() => area);
  assert.deepEqual(reloaded.load(), SESSION);
  reloaded.noteShown(99);
  assert.equal(new SessionStore(() => area).load().lastSeq, 99);
  reloaded.clear();
  assert.equal(new SessionStore(() => area).load(), null);
});

test("noting what was shown invents no session", () => {
  const store = new SessionStore(() => new FakeStorage());
  store.noteShown(4);
  assert.equal(store.load(), null);
});

test("a forbidden storage costs only the memory of the next visit", () => {
  const store = new SessionStore(() => {
    throw new DOMException("blocked", "SecurityError");
  });
  assert.equal(store.load(), null);
  store.save(SESSION);
  assert.deepEqual(store.load(), SESSION);
});

test("rubbish in storage is ignored", () => {
  const area = new FakeStorage();
  area.setItem("rollcast.session", "{half");
  area.setItem("rollcast.preferences", "{half");
  assert.equal(new SessionStore(() => area).load(), null);
  assert.equal(new PreferenceStore(() => area).get().theme, "auto");
});

test("prompts are remembered newest first, once, and not without end", () => {
  const area = new FakeStorage();
  const store = new PreferenceStore(() => area);
  for (let number = 0; number < 20; number += 1) store.rememberPrompt(`prompt ${number}`);
  store.rememberPrompt("prompt 15");
  const { history } = new PreferenceStore(() => area).get();
  assert.deepEqual(history.slice(0, 3), ["prompt 15", "prompt 19", "prompt 18"]);
  assert.equal(history.length, 12);
  assert.equal(new Set(history).size, 12);
});

test("a stream that was left is taken by one tab, and not too late", () => {
  const area = new FakeStorage();
  new LeftSession(() => area).leave(SESSION, 30_000);
  assert.deepEqual(new LeftSession(() => area).take(29_999), SESSION);
  assert.equal(new LeftSession(() => area).take(29_999), null);
  new LeftSession(() => area).leave(SESSION, 30_000);
  assert.equal(new LeftSession(() => area).take(30_000), null);
});
