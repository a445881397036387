/** The thread that writes or reads a checkpoint: one task, one answer, and it is over. */

import { libcKernel } from "../../kernel/libc/libc_kernel.ts";
import { packError } from "../../base/error_transfer.ts";
import type { IoAnswer, IoRequest } from "./io_thread.ts";
import { readCheckpoint } from "./read_checkpoint.ts";
import { writeCheckpoint } from "./write_checkpoint.ts";

const scope = globalThis as unknown as {
  onmessage: ((event: MessageEvent<IoRequest>) => void) | null;
  postMessage(message: IoAnswer): void;
};

scope.onmessage = ({ data }): void => {
  try {
    const ended = "write" in data
      ? writeCheckpoint(libcKernel(), data.write, () => scope.postMessage({ begun: true }))
      : readCheckpoint(libcKernel(), data.read, (header) => scope.postMessage({ begun: header }));
    scope.postMessage({ ended });
  } catch (error) {
    scope.postMessage({ error: packError(error) });
  }
};
