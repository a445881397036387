/**
 * The Worker that checks run in: what blocks, blocks here.
 */

import { serveParent } from "../../base/thread.ts";
import { libcAllowed } from "../../kernel/libc/libc_kernel.ts";
import { blockSignals } from "../../kernel/process/signal_mask.ts";
import { type CheckReply, type CheckRequest, CheckService, replyTo } from "./requests.ts";

const service = new CheckService();

// A driver that a signal interrupts may drop what it was about to give, or had taken.
if (libcAllowed()) blockSignals();

serveParent<CheckRequest, CheckReply>(async (request, parent) => {
  parent.post(await replyTo(service, request));
});
