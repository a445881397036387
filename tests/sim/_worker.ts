/**
 * The Worker of worker_test.ts: a save that blocks halfway.
 */

import { Client, STOP_AND_COPY } from "./_client.ts";

const scope = self as unknown as { postMessage(message: unknown): void };
using client = Client.of("sim:mapped?size=64KiB&seed=4&fault=block:150ms");
client.state = STOP_AND_COPY;
const transactions = client.drain();
scope.postMessage({
  lengths: transactions.map(({ length }) => length),
  checksum: client.device.checksum(),
  violations: client.device.violations,
});
