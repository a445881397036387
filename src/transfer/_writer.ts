/**
 * How a save writes: on the device's thread where the sink has an fd for it,
 * else by streams.
 */

import { SysError } from "../kernel/sys_error.ts";
import type { Device } from "../migration/device.ts";
import { FdSave, servesFds } from "./_fd_transfer.ts";
import type { PrecopyLimits } from "../migration/protocol/engine.ts";
import { ask, onClosed } from "../migration/thread/host.ts";
import {
  NO_LIMITS,
  precopyLimits,
  type PrecopyOptions,
} from "../migration/protocol/precopy_limits.ts";
import { phaseBatches } from "../migration/phases/phase_batches.ts";
import type { Phase } from "../checkpoint/batches/transaction.ts";
import { Ending } from "../base/ending.ts";
import { DevicesWriter } from "./_devices_writer.ts";
import type { EncodeOptions } from "../checkpoint/format/checkpoint_encoder.ts";
import { fileError } from "../checkpoint/file/file_error.ts";
import type { CheckpointHeader } from "../checkpoint/metadata/header.ts";
import type { CheckpointSink } from "./save.ts";

/** Writes one checkpoint: phases, then the end. */
export interface Writer {
  /** Saves the pre-copy phase. */
  precopy(options: PrecopyOptions): Promise<void>;
  /** Saves the stop-and-copy phase. */
  stopAndCopy(): Promise<void>;
  /** Writes the end; all bytes have been written then. */
  end(): Promise<void>;
  /** Writes no more, where something is wrong. */
  abort(reason: unknown): void;
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
    return await streamWriter(device, sink, header, options, signal);
  }
  const { compress, digest } = options;
  const save = await withFileError(sink, FdSave.begin(device, fd, header, { compress, digest }));
  return {
    precopy: (limits) => withFileError(sink, save.precopy(limits, signal)),
    stopAndCopy: () => withFileError(sink, save.stopAndCopy(signal)),
    end: () => withFileError(sink, save.end()),
    abort: () => {},
  };
}

/** The device's errors are MigrationErrors: a SysError is the file's. */
async function withFileError<Value>(
  { path = "" }: CheckpointSink,
  work: Promise<Value>,
): Promise<Value> {
  try {
    return await work;
  } catch (error) {
    throw error instanceof SysError ? fileError("write", path, error) : error;
  }
}

async function streamWriter(
  device: Device,
  sink: CheckpointSink,
  header: CheckpointHeader,
  options: EncodeOptions,
  signal: AbortSignal | undefined,
): Promise<Writer> {
  const writer = new DevicesWriter(sink, header, options);
  // A sink that takes nothing more keeps nobody from ending it.
  const ending = new Ending(signal, (end) => onClosed(device, end));
  async function phase(name: Phase, limits: PrecopyLimits): Promise<void> {
    await ask(device, "beginSave", name, limits);
    const batches = phaseBatches(device);
    for (;;) {
      const { done, value: batch } = await ending.until(batches.next());
      if (done) return;
      await ending.until(writer.batch(0, name, batch));
    }
  }
  const abort = (reason: unknown): void => {
    ending[Symbol.dispose]();
    writer.abort(reason);
  };
  try {
    await ending.until(writer.begin());
  } catch (error) {
    abort(error);
    throw error;
  }
  return {
    precopy: (limits) => phase("pre-copy", precopyLimits(limits)),
    stopAndCopy: () => phase("stop-and-copy", NO_LIMITS),
    async end(): Promise<void> {
      await ending.until(writer.end());
      ending[Symbol.dispose]();
    },
    abort,
  };
}
