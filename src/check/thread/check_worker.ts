/**
 * The Worker that checks run in: what blocks, blocks here.
 */

import { parentPort } from "node:worker_threads";
import { libcAllowed } from "../../kernel/libc/libc_kernel.ts";
import { blockSignals } from "../../kernel/process/signal_mask.ts";
import { type CheckReply, type CheckRequest, CheckService, replyTo } from "./requests.ts";

interface WorkerScope {
  onmessage: ((event: MessageEvent<CheckRequest>) => void) | null;
  postMessage(message: CheckReply): void;
}

const service = new CheckService();

// A driver that a signal interrupts may drop what it was about to give, or had taken.
if (libcAllowed()) blockSignals();

if (parentPort === null) {
  const scope = globalThis as unknown as WorkerScope;
  scope.onmessage = async ({ data }): Promise<void> =>
    scope.postMessage(await replyTo(service, data));
} else {
  parentPort.on("message", async (request: CheckRequest) => {
    parentPort!.postMessage(await replyTo(service, request));
  });
}
