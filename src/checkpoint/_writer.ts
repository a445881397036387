/**
 * How a save writes: on the device's thread where the sink has an fd for it,
 * else by streams.
 */

import { SysError } from "../kernel/error.ts";
import type { Device } from "../migration/device.ts";
import { FdSave, servesFds } from "./_fd_transfer.ts";
import { precopy, type PrecopyOptions } from "../migration/precopy.ts";
import { stopAndCopy } from "../migration/stop_and_copy.ts";
import { encodeCheckpoint } from "./encode.ts";
import type { EncodeOptions } from "./encoder.ts";
import { fileError } from "./file_error.ts";
import type { CheckpointHeader } from "./header.ts";
import type { CheckpointSink } from "./save.ts";

/** Writes one checkpoint: phases, then the end. */
export interface Writer {
  /** Saves the pre-copy phase. */
  precopy(options: PrecopyOptions): Promise<void>;
  /** Saves the stop-and-copy phase. */
  stopAndCopy(): Promise<void>;
  /** Writes the end; all bytes have been written then. */
  end(): Promise<void>;
}

/** Begins a checkpoint. */
export async function openWriter(
  device: Device,
  sink: CheckpointSink,
  header: CheckpointHeader,
  options: EncodeOptions,
  signal: AbortSignal | undefined,
): Promise<Writer> {
  const { fd } = sink;
  if (fd === undefined || options.elapsed !== undefined || !servesFds(device)) {
    return streamWriter(device, sink, header, options, signal);
  }
  const { compress, digest } = options;
  const save = await told(sink, FdSave.begin(device, fd, header, { compress, digest }));
  return {
    precopy: (limits) => told(sink, save.precopy(limits, signal)),
    stopAndCopy: () => told(sink, save.stopAndCopy(signal)),
    end: () => told(sink, save.end()),
  };
}

/** The device's errors are MigrationErrors: a SysError is the file's. */
async function told<Value>({ path = "" }: CheckpointSink, work: Promise<Value>): Promise<Value> {
  try {
    return await work;
  } catch (error) {
    throw error instanceof SysError ? fileError("write", path, error) : error;
  }
}

function streamWriter(
  device: Device,
  sink: CheckpointSink,
  header: CheckpointHeader,
  options: EncodeOptions,
  signal: AbortSignal | undefined,
): Writer {
  const encoder = encodeCheckpoint(header, { ...options, recycle: true });
  const written = encoder.readable.pipeTo(sink.writable);
  written.catch(() => {});
  const piping = { preventClose: true, ...(signal && { signal }) };
  return {
    precopy: (limits) => precopy(device, limits).pipeTo(encoder.writable, piping),
    stopAndCopy: () => stopAndCopy(device).pipeTo(encoder.writable, piping),
    async end(): Promise<void> {
      await encoder.writable.close();
      await written;
    },
  };
}
