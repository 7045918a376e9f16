import assert from "node:assert/strict";
import { test } from "node:test";

import { OWN_PICTURE } from "../../../../client/web/net/protocol.js";
import { hintInWords } from "../../../../client/web/ui/hint.js";

const scenes = [{ name: "ada", kind: "avatar" }, { name: "sea", kind: "scene" }];

test("only what the model takes is spoken of", () => {
  assert.equal(hintInWords(null, "ada"), "");
  assert.equal(hintInWords({ scenes }, "ada"), "");
  assert.equal(hintInWords({ scenes, speech: {} }, "ada"), "Press Talk and speak: the picture speaks along.");
  assert.equal(hintInWords({ camera: {} }, ""), "W A S D move the camera, arrow keys turn it.");
});

test("a face is turned, and things are moved", () => {
  const inputs = { scenes, speech: {}, tracks: {} };
  for (const face of ["ada", OWN_PICTURE]) assert.match(hintInWords(inputs, face), /speaks along\. Drag to turn the head\.$/);
  assert.match(hintInWords(inputs, "sea"), /^Drag things to move them/);
});
