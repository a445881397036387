/**
 * The writer of a save: out of the rings of all devices, into one checkpoint.
 * On a thread of its own it writes to an fd; on the caller's, to a stream.
 */

import type { Kernel } from "../../kernel/kernel.ts";
import { Doorbell } from "./doorbell.ts";
import type { FdKind } from "./fd_kind.ts";
import { openOutput } from "./_fd_output.ts";
import { type CheckpointContent, Multiplexer } from "./_multiplexer.ts";

/** What is to be written, and which fd it goes to. */
export interface WriteTask extends CheckpointContent {
  /** Where the checkpoint goes. It must stay open until the task has ended. */
  readonly fd: number;
  /** What that is; a regular file must be empty. */
  readonly kind: FdKind;
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
 * @param onBegun Is called once the header is written: the target takes bytes, and devices may begin.
 * @returns Null if a device was cancelled; what was written is no checkpoint then.
 * @throws {SysError} If the fd takes no more. No device goes on then: all rings are cancelled.
 */
export function writeCheckpoint(
  kernel: Kernel,
  task: WriteTask,
  onBegun: () => void,
): Written | null {
  const frames = new Multiplexer(task);
  const bell = new Doorbell(task.rings[0]!.consumer);
  const unwanted = (): boolean => frames.cancelled;
  try {
    using output = openOutput(kernel, task.fd, task.kind);
    for (const bytes of frames.begin()) if (!output.write(bytes, unwanted)) return null;
    onBegun();
    for (;;) {
      const next = bell.until(() => frames.next());
      if (next === "cancelled" || next === null) return null;
      if (next === "ended") break;
      if (!output.write(next, unwanted)) return null;
      frames.release();
    }
    if (!output.write(frames.end(), unwanted)) return null;
    return { storedBytes: frames.storedBytes };
  } catch (error) {
    frames.cancel();
    throw error;
  }
}

/**
 * The same to a stream, which is closed at the end. A chunk is a copy of a
 * frame: the stream may keep it.
 *
 * @throws What the stream fails with; all rings are cancelled then.
 */
export async function writeStream(
  writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>,
  content: CheckpointContent,
  onBegun: () => void,
): Promise<Written | null> {
  const frames = new Multiplexer(content);
  const bell = new Doorbell(content.rings[0]!.consumer);
  const write = (bytes: Uint8Array): Promise<void> => writer.write(new Uint8Array(bytes));
  try {
    for (const bytes of frames.begin()) await write(bytes);
    onBegun();
    for (;;) {
      const next = await bell.untilAsync(() => frames.next());
      if (next === "cancelled" || next === null) return null;
      if (next === "ended") break;
      await write(next);
      frames.release();
    }
    await write(frames.end());
    await writer.close();
    writer.releaseLock();
    return { storedBytes: frames.storedBytes };
  } catch (error) {
    frames.cancel();
    throw error;
  }
}
