/**
 * The reader of a restore: out of one checkpoint, into the rings of all
 * devices. On a thread of its own it reads an fd; on the caller's, a stream.
 */

import { recycle } from "../batches/buffer_pool.ts";
import { DATA_META_SIZE, FRAME_DATA } from "../frames/constants.ts";
import type { FrameHeader } from "../frames/frame_header.ts";
import type { DecodedHeader } from "../metadata/header.ts";
import { CheckpointReader } from "../format/checkpoint_reader.ts";
import type { CheckpointTrailer } from "../metadata/trailer.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { Demultiplexer, DeviceCancelled } from "./_demultiplexer.ts";
import { Doorbell } from "./doorbell.ts";
import { openInput } from "./_fd_input.ts";
import type { FdKind } from "./fd_kind.ts";
import type { RingMemory } from "./ring.ts";

/** What is to be read, and into which rings. */
export interface ReadTask {
  /** Where the checkpoint is. It must stay open until the task has ended. */
  readonly fd: number;
  /** What that is; a regular file is read from its beginning. */
  readonly kind: FdKind;
  /** The ring of each device, in the order of the header; all on one producer's bell. */
  readonly rings: readonly RingMemory[];
}

/**
 * Reads a checkpoint. Each frame goes to its device once everything about it
 * has been checked; the rings end once the checkpoint as a whole is right.
 *
 * @param onHeader Is told the header, before any device gets anything. Where it is not for as many
 * devices as there are rings, that is all that is read.
 * @returns Null if a device takes no more, or there is no ring for one.
 * @throws {CheckpointError} If the checkpoint is bad; so do all errors, this cancels the rings.
 * @throws {SysError} If it cannot be read.
 */
export function readCheckpoint(
  kernel: Kernel,
  task: ReadTask,
  onHeader: (header: DecodedHeader) => void,
): CheckpointTrailer | null {
  const devices = new Demultiplexer(task.rings, new Doorbell(task.rings[0]!.producer));
  const unwanted = (): boolean => devices.cancelled;
  const allocate = ({ type, device, metaLength, bodyLength }: FrameHeader): Bytes | null =>
    type === FRAME_DATA
      ? devices.room(device, (metaLength - DATA_META_SIZE) / 4, bodyLength) as Bytes | null
      : null;
  const reader = new CheckpointReader({ requireComplete: true, allocate });
  let header: DecodedHeader | null = null;
  try {
    const input = openInput(kernel, task.fd, task.kind);
    for (;;) {
      const count = input.read(reader.room(), unwanted);
      if (count === null) return null;
      if (count === 0) {
        const trailer = reader.end();
        devices.end();
        return trailer;
      }
      const batch = reader.filled(count);
      if (header === null && reader.header !== null) {
        header = reader.header;
        onHeader(header);
        if (header.devices.length !== task.rings.length) return null;
      }
      if (batch !== null) devices.batch(batch);
    }
  } catch (error) {
    devices.cancel();
    if (error instanceof DeviceCancelled) return null;
    throw error;
  }
}

/**
 * The same from a stream's chunks.
 *
 * @param next The next chunk, which may be overwritten once another is asked for; null at the end.
 * @throws What `next` throws, too.
 */
export async function readStream(
  next: () => Promise<Uint8Array | null>,
  rings: readonly RingMemory[],
  onHeader: (header: DecodedHeader) => void,
): Promise<CheckpointTrailer | null> {
  const devices = new Demultiplexer(rings, new Doorbell(rings[0]!.producer));
  const reader = new CheckpointReader({ requireComplete: true });
  let told = false;
  /** Whether there is a ring for each device, as far as that is known. */
  function fits(): boolean {
    const { header } = reader;
    if (header === null) return true;
    if (!told) onHeader(header);
    told = true;
    return header.devices.length === rings.length;
  }
  try {
    for (;;) {
      const chunk = await next();
      if (devices.cancelled) return null;
      if (chunk === null) {
        const trailer = reader.end();
        devices.end();
        return trailer;
      }
      for (const batch of reader.push(chunk)) {
        if (!fits()) return null;
        await devices.copy(batch);
        // The reader's memory, which nobody else has.
        recycle(batch.bytes.buffer);
      }
      if (!fits()) return null;
    }
  } catch (error) {
    devices.cancel();
    if (error instanceof DeviceCancelled) return null;
    throw error;
  }
}

/** Memory as the reader knows it: it fills it in, checks it, and hands it on, shared or not. */
type Bytes = Uint8Array<ArrayBuffer>;
