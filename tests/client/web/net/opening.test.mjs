import assert from "node:assert/strict";
import { test } from "node:test";

import { afterRefusal } from "../../../../client/web/net/opening.js";

const error = (code, more = {}) => ({ type: "error", code, message: "no", fatal: false, ...more });
const NEW = { resuming: false, wishing: false };

test("a session that is gone is replaced, also by what the server said fatally", () => {
  for (const code of ["unknown_session", "session_expired", "wrong_resume_token"]) {
    assert.equal(afterRefusal(error(code), { resuming: true, wishing: false }), "anew");
    assert.equal(afterRefusal(error(code, { fatal: true }), { resuming: true, wishing: true }), "anew");
  }
});

test("an image is asked for, whatever else was wished", () => {
  const wanted = error("invalid_field", { field: "image" });
  assert.equal(afterRefusal(wanted, NEW), "ask");
  assert.equal(afterRefusal(wanted, { resuming: false, wishing: true }), "ask");
  assert.equal(afterRefusal(error("invalid_field", { field: "seed" }), NEW), "fail");
});

test("a wish that cannot be met is given up", () => {
  assert.equal(afterRefusal(error("unknown_scene"), { resuming: false, wishing: true }), "plain");
});

test("what nothing helps is said, by the socket's end if it ends", () => {
  assert.equal(afterRefusal(error("capacity", { fatal: true }), { resuming: true, wishing: true }), "lost");
  assert.equal(afterRefusal(error("not_supported"), NEW), "fail");
});
