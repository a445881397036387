/**
 * The Worker of worker_test.ts: a save that blocks halfway.
 */

import { parentPort, workerData } from "node:worker_threads";
import { HELD, holdAt } from "../_gate.ts";
import { Client, STOP_AND_COPY } from "./_client.ts";

holdAt(workerData as SharedArrayBuffer);
using client = Client.of(`sim:mapped?size=64KiB&seed=4&fault=block:${HELD}`);
client.state = STOP_AND_COPY;
const transactions = client.drain();
parentPort!.postMessage({
  lengths: transactions.map(({ length }) => length),
  checksum: client.device.checksum(),
  violations: client.device.violations,
});
