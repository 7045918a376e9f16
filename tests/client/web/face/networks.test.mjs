import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { readNetworks } from "../../../../client/web/face/networks.js";

const FILE = readFileSync(new URL("../../../../models/face/assets/networks.safetensors", import.meta.url));
const EXPECTED = JSON.parse(readFileSync(new URL("../../../fixtures/face/networks.json", import.meta.url)));

const networks = readNetworks(FILE.buffer.slice(FILE.byteOffset, FILE.byteOffset + FILE.byteLength));

for (const name of ["detector", "mesh"]) {
  test(`the ${name} computes what its publisher's runtime does`, () => {
    const network = networks[name];
    const picture = Float32Array.from({ length: 3 * network.side ** 2 }, (_, k) => (Math.sin(k / 97) + Math.sin(k / 8009)) / 4 + 0.5);
    network.run(picture).forEach((output, place) => {
      EXPECTED[name][place].forEach((value, k) => {
        // float32 sums in another order, of values up to 200
        assert.ok(Math.abs(output[37 * k] - value) < 2e-3, `${place}, ${37 * k}: ${output[37 * k]}, not ${value}`);
      });
    });
  });
}
