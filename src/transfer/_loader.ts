/**
 * How a restore reads: on the device's thread where the source has an fd for
 * it, else by streams.
 */

import { SysError } from "../kernel/sys_error.ts";
import type { Device } from "../migration/device.ts";
import { FdRestore, servesFds } from "./_fd_transfer.ts";
import { ask, onClosed } from "../migration/thread/host.ts";
import { BatchSender } from "../migration/phases/batch_sender.ts";
import { Ending } from "../base/ending.ts";
import { DevicesLoader } from "./_devices_loader.ts";
import { fileError } from "../checkpoint/file/file_error.ts";
import type { DecodedHeader } from "../checkpoint/metadata/header.ts";
import type { RestoreSource } from "./restore.ts";

/** Reads one checkpoint: its header is there, the device not yet touched. */
export interface Loader {
  /** The header. */
  readonly header: DecodedHeader;
  /** Gives the device all of it. */
  load(leave: "running" | "stopped"): Promise<void>;
  /** Reads no more, where something is wrong. */
  cancel(reason: unknown): void;
}

/** Begins to read, up to the header. */
export async function openLoader(
  device: Device,
  source: RestoreSource,
  recycle: boolean,
  signal: AbortSignal | undefined,
): Promise<Loader> {
  const file = servesFds(device) ? source.file : undefined;
  if (file === undefined) return await streamLoader(device, source, recycle, signal);
  const restore = await withFileError(source, FdRestore.begin(device, file, signal));
  return {
    header: restore.header,
    load: (leave) => withFileError(source, restore.load(leave, signal)),
    cancel: () => {},
  };
}

/** The device's errors are MigrationErrors: a SysError is the file's. */
async function withFileError<Value>(
  { path = "" }: RestoreSource,
  work: Promise<Value>,
): Promise<Value> {
  try {
    return await work;
  } catch (error) {
    throw error instanceof SysError ? fileError("read", path, error) : error;
  }
}

async function streamLoader(
  device: Device,
  source: RestoreSource,
  recycle: boolean,
  signal: AbortSignal | undefined,
): Promise<Loader> {
  const loader = new DevicesLoader(source, recycle);
  // A source that gives nothing more keeps nobody from ending it.
  const ending = new Ending(signal, (end) => onClosed(device, end));
  const cancel = (reason: unknown): void => {
    ending[Symbol.dispose]();
    loader.cancel(reason);
  };
  try {
    return {
      header: await ending.until(loader.header()),
      async load(leave): Promise<void> {
        const sender = new BatchSender((batch) => ask(device, "push", batch));
        await ask(device, "beginRestore");
        await ending.until(loader.load(async ({ bytes, sizes, more }) => {
          await sender.push({ bytes, sizes, more });
        }));
        await ending.until(sender.flush());
        await ask(device, "endRestore", leave === "stopped" ? "stop" : "running");
        ending[Symbol.dispose]();
      },
      cancel,
    };
  } catch (error) {
    cancel(error);
    throw error;
  }
}
