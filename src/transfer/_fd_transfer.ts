/**
 * A device's state to and from an fd, without leaving the device's thread.
 *
 * One thread that reads, checks and writes needs no buffers of others, no
 * messages and no streams: it is as fast as a program in C, but for the calls
 * themselves. The streams are for everything that has no fd.
 */

import { libcAllowed } from "../kernel/libc/libc_kernel.ts";
import type { PrecopyLimits } from "../migration/protocol/engine.ts";
import { ask as askSession, hasThread } from "../migration/thread/host.ts";
import {
  NO_LIMITS,
  precopyLimits,
  type PrecopyOptions,
} from "../migration/protocol/precopy_limits.ts";
import type { Device } from "../migration/device.ts";
import type { Phase } from "../checkpoint/batches/transaction.ts";
import type { FileSession } from "../migration/thread/file_session.ts";
import type { EncodeOptions } from "../checkpoint/format/checkpoint_encoder.ts";
import type { CheckpointHeader, DecodedHeader } from "../checkpoint/metadata/header.ts";
import type { ReadableFd } from "../checkpoint/file/checkpoint_source.ts";

/** Asks a device whose thread serves a {@linkcode FileSession}. */
const ask = askSession as <Name extends keyof FileSession>(
  device: Device,
  method: Name,
  ...args: FileSession[Name] extends (...args: infer Args) => unknown ? Args : never
) => Promise<FileSession[Name] extends (...args: never) => infer Result ? Result : never>;

/** Whether a device has a thread of its own that can use fds. */
export function servesFds(device: Device): boolean {
  return hasThread(device) && libcAllowed();
}

/** Writes a checkpoint to an fd. */
export class FdSave {
  readonly #device: Device;

  private constructor(device: Device) {
    this.#device = device;
  }

  /**
   * Writes the checkpoint's beginning. The fd must stay open until the save
   * is over, and, where that fails, until the device has been recovered.
   *
   * @throws {SysError} If the fd takes no more; so do the others.
   */
  static async begin(
    device: Device,
    fd: number,
    header: CheckpointHeader,
    options: Pick<EncodeOptions, "compress" | "digest">,
  ): Promise<FdSave> {
    await ask(device, "beginWrite", fd, header, options);
    return new FdSave(device);
  }

  /**
   * Saves the pre-copy phase; see `precopy`.
   *
   * @throws {MigrationError} If the device fails, with its state.
   */
  async precopy(options: PrecopyOptions, signal?: AbortSignal): Promise<void> {
    await this.#phase("pre-copy", precopyLimits(options), signal);
  }

  /**
   * Saves the stop-and-copy phase; see `stopAndCopy`.
   *
   * @throws {MigrationError} If the device fails, with its state.
   */
  async stopAndCopy(signal?: AbortSignal): Promise<void> {
    await this.#phase("stop-and-copy", NO_LIMITS, signal);
  }

  async #phase(phase: Phase, limits: PrecopyLimits, signal?: AbortSignal): Promise<void> {
    await ask(this.#device, "beginSave", phase, limits);
    do signal?.throwIfAborted(); while (!await ask(this.#device, "write", phase));
  }

  /** Writes the checkpoint's end. */
  async end(): Promise<void> {
    await ask(this.#device, "endWrite");
  }
}

/** Reads a checkpoint from an fd. */
export class FdRestore {
  readonly #device: Device;
  /** The checkpoint's header. */
  readonly header: DecodedHeader;

  private constructor(device: Device, header: DecodedHeader) {
    this.#device = device;
    this.header = header;
  }

  /**
   * Reads the header; the device is not touched. The fd must stay open until
   * the restore is over, and, where that fails, until the device has been recovered.
   *
   * @throws {CheckpointError} If the checkpoint is bad.
   * @throws {SysError} If it cannot be read.
   */
  static async begin(
    device: Device,
    { fd, position }: ReadableFd,
    signal?: AbortSignal,
  ): Promise<FdRestore> {
    await ask(device, "beginRead", fd, position);
    for (;;) {
      signal?.throwIfAborted();
      const header = await ask(device, "readHeader");
      if (header !== null) return new FdRestore(device, header);
    }
  }

  /**
   * Restores the device, and leaves it in a state.
   *
   * @throws {MigrationError} If the device fails, with its state.
   * @throws {CheckpointError} If the checkpoint turns out bad; the device is in RESUMING then.
   */
  async load(leave: "running" | "stopped", signal?: AbortSignal): Promise<void> {
    await ask(this.#device, "beginRestore");
    do signal?.throwIfAborted(); while (!await ask(this.#device, "read"));
    await ask(this.#device, "endRestore", leave === "stopped" ? "stop" : "running");
  }
}
