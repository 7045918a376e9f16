import assert from "node:assert/strict";
import test from "node:test";

import { RtpClock } from "../../../../client/web/media/peer-media.js";

test("media time follows RTP from what the server told", () => {
  const clock = new RtpClock();
  assert.equal(clock.ptsUs(5), null);
  clock.tell(1_000, 40_000);
  assert.equal(clock.ptsUs(1_000), 40_000);
  assert.equal(clock.ptsUs(1_000 + 3_600), 80_000);
  assert.equal(clock.ptsUs(1_000 - 3_600), 0, "a frame from before");
  assert.equal(clock.ptsUs(undefined), null, "a browser that does not say");
  clock.forget();
  assert.equal(clock.ptsUs(1_000), null);
});

test("RTP wraps around", () => {
  const clock = new RtpClock();
  clock.tell(2 ** 32 - 1_800, 1e6);
  assert.equal(clock.ptsUs(1_800), 1e6 + 40_000);
});
