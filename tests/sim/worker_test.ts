import { it } from "node:test";
import assert from "node:assert/strict";
import { Worker } from "node:worker_threads";
import { SimKernel } from "../../src/sim/mod.ts";
import { Gate } from "../_gate.ts";

it("a simulated kernel works in a Worker, and blocks only that thread", async () => {
  const gate = new Gate();
  const worker = new Worker(new URL("./_worker.ts", import.meta.url), { workerData: gate.memory });
  try {
    const answer = new Promise((resolve, reject) => {
      worker.once("message", resolve);
      worker.once("error", reject);
    });
    // This thread goes on: else nobody would open the gate.
    await gate.reached();
    gate.open();
    const [same] = new SimKernel("mapped?size=64KiB&seed=4").devices;
    assert.deepEqual(await answer, {
      lengths: [32 + 16 + 65536],
      checksum: same!.checksum(),
      violations: [],
    });
  } finally {
    await worker.terminate();
  }
});
