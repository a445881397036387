import { it } from "node:test";
import assert from "node:assert/strict";
import { SimKernel } from "../../src/sim/mod.ts";

it("a simulated kernel works in a Worker, and blocks only that thread", async () => {
  const worker = new Worker(new URL("./_worker.ts", import.meta.url), { type: "module" });
  let ticks = 0;
  const timer = setInterval(() => ticks += 1, 10);
  try {
    const answer = await new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = ({ message }) => reject(new Error(message));
    });
    const [same] = new SimKernel("mapped?size=64KiB&seed=4").devices;
    assert.deepEqual(answer, {
      lengths: [32 + 16 + 65536],
      checksum: same!.checksum(),
      violations: [],
    });
    assert.ok(ticks >= 5, `${ticks}`);
  } finally {
    clearInterval(timer);
    worker.terminate();
  }
});
