import assert from "node:assert/strict";
import { it } from "node:test";
import { kernelComplaints } from "./kernel_log.ts";

it("kernelComplaints finds what a kernel complains of, each line once", () => {
  const bad = [
    "[    2.1] WARNING: CPU: 0 PID: 77 at kernel/workqueue.c:1444 __queue_work+0x3a/0x3f0",
    "[    2.2] BUG: kernel NULL pointer dereference, address: 0000000000000000",
    "[    2.3] Oops: 0002 [#1] PREEMPT SMP NOPTI",
    "[    2.4] general protection fault, probably for non-canonical address",
    "[    2.5] INFO: task deno:91 blocked for more than 120 seconds.",
    "[    2.6] Kernel panic - not syncing: Fatal exception",
  ];
  assert.deepEqual(kernelComplaints([...bad, bad[0], "[ 3.0] fine"].join("\n")), bad);
});

it("kernelComplaints lets an ordinary log pass", () => {
  const log = [
    "[    0.1] Speculative Store Bypass: Vulnerable",
    "[    0.2] ima: No TPM chip found, activating TPM-bypass!",
    "[    1.9] vfiokit: module verification failed: signature and/or required key missing",
    "[    2.0] vfiokit 1-2: violation: device_state: running written again",
    "[    2.1] systemd debugging: BUGFIX release, no warnings",
  ];
  assert.deepEqual(kernelComplaints(log.join("\n")), []);
});
