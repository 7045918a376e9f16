import assert from "node:assert/strict";
import { test } from "node:test";

import { codecsFrom, soundFrom, streamUrl, takeToken, wishFrom } from "../../../../client/web/net/page-address.js";
import { TokenStore } from "../../../../client/web/net/storage.js";
import { FakeStorage } from "../fakes.mjs";

test("the stream is beside the page, over the page's own kind of transport", () => {
  assert.equal(streamUrl("http://127.0.0.1:8080/"), "ws://127.0.0.1:8080/v1/stream");
  assert.equal(streamUrl("https://host/studio/?scene=a#token=b"), "wss://host/studio/v1/stream");
});

test("the address chooses what to open; nonsense is left out", () => {
  assert.deepEqual(wishFrom("?model=pocket&scene=cup&prompt=a%20red%20wall&seed=7&other=1"), {
    model: "pocket", scene: "cup", prompt: "a red wall", seed: 7,
  });
  assert.deepEqual(wishFrom("?seed=-1&scene="), {});
  assert.deepEqual(wishFrom("?seed=1.5"), {});
  assert.deepEqual(wishFrom(""), {});
});

test("seed zero is a seed", () => assert.deepEqual(wishFrom("?seed=0"), { seed: 0 }));

test("codecs before the chosen one are left out", () => {
  const all = ["h264", "vp8", "jpeg"];
  assert.deepEqual(codecsFrom("?codec=vp8", all), ["vp8", "jpeg"]);
  assert.deepEqual(codecsFrom("?codec=av1", all), all);
  assert.deepEqual(codecsFrom("", all), all);
});

test("a token leaves the address bar and stays with the tab", () => {
  const storage = new FakeStorage();
  const shown = [];
  const history = { replaceState: (_state, _title, url) => shown.push(url) };
  const location = { hash: "#token=s3cret", pathname: "/", search: "?scene=cup" };
  assert.equal(takeToken(location, history, new TokenStore(() => storage)), "s3cret");
  assert.deepEqual(shown, ["/?scene=cup"]);
  const reloaded = new TokenStore(() => storage);
  assert.equal(takeToken({ ...location, hash: "" }, history, reloaded), "s3cret");
  reloaded.keep("other");
  assert.equal(takeToken({ ...location, hash: "" }, history, new TokenStore(() => storage)), "other");
});

test("without a token there is none", () => {
  assert.equal(takeToken({ hash: "", pathname: "/", search: "" }, {}, new TokenStore(() => new FakeStorage())), null);
});

test("every sign of a token survives the fragment", () => {
  const history = { replaceState: () => {} };
  const taken = (hash) => takeToken({ hash, pathname: "/", search: "" }, history, new TokenStore(() => new FakeStorage()));
  assert.equal(taken("#token=a+b/c="), "a+b/c=");
  assert.equal(taken("#token=a%2Bb%20c"), "a+b c");
  assert.equal(taken("#x=1&token=100%&y=2"), "100%");
  assert.equal(taken("#token=%20s%0A"), "s");
  assert.equal(taken("#token="), null);
});

test("where storage is forbidden, a token lasts as long as the page", () => {
  const store = new TokenStore(() => {
    throw new DOMException("blocked", "SecurityError");
  });
  const history = { replaceState: () => {} };
  assert.equal(takeToken({ hash: "#token=t", pathname: "/", search: "" }, history, store), "t");
  assert.equal(store.load(), "t");
});

test("how sound goes may be said in the address", () => {
  assert.equal(soundFrom("?audio=opus"), "opus");
  assert.equal(soundFrom("?audio=pcm&seed=1"), "pcm");
  assert.equal(soundFrom("?audio=mp3"), null);
  assert.equal(soundFrom(""), null);
});
