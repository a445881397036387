/** The thread that writes or reads a checkpoint: one task, one answer, and it is over. */

import { packError } from "../../base/error_transfer.ts";
import { serveParent } from "../../base/thread.ts";
import { libcKernel } from "../../kernel/libc/libc_kernel.ts";
import type { IoAnswer, IoRequest } from "./io_thread.ts";
import { readCheckpoint } from "./read_checkpoint.ts";
import { writeCheckpoint } from "./write_checkpoint.ts";

serveParent<IoRequest, IoAnswer>((request, parent) => {
  try {
    const ended = "write" in request
      ? writeCheckpoint(libcKernel(), request.write, () => parent.post({ begun: true }))
      : readCheckpoint(libcKernel(), request.read, (header) => parent.post({ begun: header }));
    parent.post({ ended });
  } catch (error) {
    parent.post({ error: packError(error) });
  }
});
