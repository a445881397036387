/**
 * How a restore reads: on the device's thread where the source has an fd for
 * it, else by streams.
 */

import { SysError } from "../kernel/error.ts";
import type { Device } from "../migration/device.ts";
import { FdRestore, servesFds } from "./_fd_transfer.ts";
import { resume } from "../migration/resume.ts";
import { decodeCheckpoint } from "./decode.ts";
import { fileError } from "./file_error.ts";
import type { DecodedHeader } from "./header.ts";
import type { RestoreSource } from "./restore.ts";

/** Reads one checkpoint: its header is there, the device not yet touched. */
export interface Loader {
  /** The header. */
  readonly header: DecodedHeader;
  /** Gives the device all of it. */
  load(leave: "running" | "stopped"): Promise<void>;
  /** Reads no more, where something is wrong. */
  cancel(reason: unknown): Promise<void>;
}

/** Begins to read, up to the header. */
export async function openLoader(
  device: Device,
  source: RestoreSource,
  signal: AbortSignal | undefined,
): Promise<Loader> {
  const file = servesFds(device) ? source.file : undefined;
  if (file === undefined) return await streamLoader(device, source, signal);
  const restore = await told(source, FdRestore.begin(device, file, signal));
  return {
    header: restore.header,
    load: (leave) => told(source, restore.load(leave, signal)),
    cancel: () => Promise.resolve(),
  };
}

/** The device's errors are MigrationErrors: a SysError is the file's. */
async function told<Value>({ path = "" }: RestoreSource, work: Promise<Value>): Promise<Value> {
  try {
    return await work;
  } catch (error) {
    throw error instanceof SysError ? fileError("read", path, error) : error;
  }
}

async function streamLoader(
  device: Device,
  source: RestoreSource,
  signal: AbortSignal | undefined,
): Promise<Loader> {
  const decoder = decodeCheckpoint({ requireComplete: true, recycle: true });
  const piping = signal && { signal };
  const fed = source.stream().pipeTo(decoder.writable, piping);
  fed.catch(() => {});
  return {
    header: await decoder.header,
    async load(leave): Promise<void> {
      await decoder.readable.pipeTo(resume(device, { leave }), piping);
      await fed;
    },
    cancel: (reason) => decoder.readable.cancel(reason).catch(() => {}),
  };
}
