import assert from "node:assert/strict";
import { test } from "node:test";

import { codecsFrom, keepToken, streamUrl, takeToken, wishFrom } from "../../../../client/web/net/page-address.js";
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
  assert.equal(takeToken(location, history, storage), "s3cret");
  assert.deepEqual(shown, ["/?scene=cup"]);
  assert.equal(takeToken({ ...location, hash: "" }, history, storage), "s3cret");
  keepToken(storage, "other");
  assert.equal(takeToken({ ...location, hash: "" }, history, storage), "other");
});

test("without a token there is none", () => {
  assert.equal(takeToken({ hash: "", pathname: "/", search: "" }, {}, new FakeStorage()), null);
});
