/**
 * The writer's thread of a save: out of the rings of all devices, into one checkpoint.
 */

import { FrameSequence } from "../frames/frame_sequence.ts";
import type { CheckpointHeader } from "../metadata/header.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { Doorbell } from "./doorbell.ts";
import type { FdKind } from "./_fd_kind.ts";
import { openOutput } from "./_fd_output.ts";
import { Multiplexer } from "./_multiplexer.ts";
import type { RingMemory } from "./ring.ts";

/** What is to be written, and where to. */
export interface WriteTask {
  /** Where the checkpoint goes. It must stay open until the task has ended. */
  readonly fd: number;
  /** What that is; a regular file must be empty. */
  readonly kind: FdKind;
  /** The checkpoint's header. */
  readonly header: CheckpointHeader;
  /** The ring of each device, in the order of the header; all on one consumer's bell. */
  readonly rings: readonly RingMemory[];
}

/** What was written. */
export interface Written {
  /** Bytes of the checkpoint. */
  readonly storedBytes: number;
}

/**
 * Writes a checkpoint: what the devices give, in the order in which it comes,
 * until all of them have ended.
 *
 * @param onBegun Is told once the header is written: the target takes bytes, and devices may begin.
 * @returns Null where a device was cancelled; what was written is no checkpoint then.
 * @throws {SysError} If the fd takes no more. No device goes on then: all rings are cancelled.
 */
export function writeCheckpoint(
  kernel: Kernel,
  task: WriteTask,
  onBegun: () => void,
): Written | null {
  const frames = new FrameSequence(task.header, {});
  const bell = new Doorbell(task.rings[0]!.consumer);
  const source = new Multiplexer(task.rings, frames);
  const unwanted = (): boolean => source.cancelled;
  try {
    using output = openOutput(kernel, task.fd, task.kind);
    for (const bytes of frames.begin()) if (!output.write(bytes, unwanted)) return null;
    onBegun();
    for (;;) {
      const next = bell.until(() =>
        source.cancelled ? "cancelled" : source.next() ?? (source.ended ? "ended" : null)
      );
      if (next === "cancelled" || next === null) return null;
      if (next === "ended") break;
      if (!output.write(next, unwanted)) return null;
      source.release();
    }
    if (!output.write(frames.end(null), unwanted)) return null;
    return { storedBytes: frames.storedBytes };
  } catch (error) {
    source.cancel();
    throw error;
  }
}
