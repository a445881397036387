/**
 * The data fd of a migration: its reads and writes are messages.
 */

import { ERRNO } from "../../kernel/errno_names.ts";
import { FIONBIO, POLLIN } from "../../kernel/kernel.ts";
import { sleepSync } from "../../kernel/process/sleep_sync.ts";
import { isErrno, SysError } from "../../kernel/sys_error.ts";
import { VFIO_MIG_GET_PRECOPY_INFO, vfioPrecopyInfo } from "../../uapi/mod.ts";
import { OpenFile } from "../../sim/os/open_file.ts";
import { refuse } from "../../sim/os/refusal.ts";
import { type Argument, bytesToUser, fromUser } from "../../sim/os/user.ts";
import type { RemoteDevice } from "./remote_device.ts";

/** How often a server is asked whether it has more, in milliseconds. */
const POLL_PAUSE_MS = 10;

/** What a session of migration data is for. */
export type DataPhase = "pre-copy" | "stop-copy" | "resuming";

/** What readlink answers for the fd of a data file, in any process. */
export const DATA_FILE = "anon_inode:[vfio-user-data]";

/** One session of migration data. */
export class DataFile extends OpenFile {
  readonly label = DATA_FILE;
  readonly #device: RemoteDevice;
  #phase: DataPhase | null;
  /** Servers other than vfiokit's end what there is by a short read. */
  #drained = false;
  /** Whether the last read found that pre-copy has nothing for now. */
  #empty = false;

  constructor(device: RemoteDevice, phase: DataPhase) {
    super();
    this.#device = device;
    this.#phase = phase;
  }

  /** What it is for; null if the device has left the states that have data. */
  get phase(): DataPhase | null {
    return this.#phase;
  }

  /** The device came to another state. */
  enter(phase: DataPhase | null): void {
    if (phase !== this.#phase) this.#drained = false;
    this.#phase = phase;
  }

  protected release(): void {
    this.#phase = null;
  }

  #in(...phases: readonly DataPhase[]): DataPhase {
    if (this.#phase === null) return refuse("ENODEV");
    return phases.includes(this.#phase) ? this.#phase : refuse("EINVAL");
  }

  override read(into: Uint8Array): number {
    const phase = this.#in("pre-copy", "stop-copy");
    if (into.length === 0) return 0;
    const { extension } = this.#device.connection;
    if (this.#drained) return this.#end(phase);
    const { count, full } = this.#readData(into);
    if (extension !== null) return count;
    this.#drained = !full;
    return count > 0 ? count : this.#end(phase);
  }

  #readData(into: Uint8Array): ReturnType<RemoteDevice["readData"]> {
    try {
      const read = this.#device.readData(into);
      this.#empty = false;
      return read;
    } catch (error) {
      this.#empty = isErrno(error, "ENOMSG");
      throw error;
    }
  }

  /** The end of the data, or of what there is for now. */
  #end(phase: DataPhase): number {
    if (phase === "stop-copy") return 0;
    this.#drained = false;
    this.#empty = true;
    throw new SysError("read", ERRNO.ENOMSG, this.#device.connection.path);
  }

  override write(from: Uint8Array): number {
    this.#in("resuming");
    return from.length === 0 ? 0 : this.#device.writeData(from);
  }

  override pread(): number {
    return refuse("ESPIPE");
  }

  override pwrite(): number {
    return refuse("ESPIPE");
  }

  /** Waits for data in pre-copy after it was drained; all else does not wait here. */
  awaitData(events: number, timeoutMs: number): number {
    const waits = this.#phase === "pre-copy" && this.#empty && (events & POLLIN) !== 0;
    const until = timeoutMs < 0 ? Infinity : performance.now() + timeoutMs;
    while (waits && this.#left() === 0n) {
      const left = until - performance.now();
      if (left <= 0) return 0;
      sleepSync(Math.min(left, POLL_PAUSE_MS));
    }
    return this.poll(events);
  }

  /** What the server estimates to be left of pre-copy. */
  #left(): bigint {
    const info = vfioPrecopyInfo.pack({});
    this.ioctl(VFIO_MIG_GET_PRECOPY_INFO, info);
    const { initial_bytes, dirty_bytes } = vfioPrecopyInfo.unpack(info);
    return initial_bytes + dirty_bytes;
  }

  ioctl(request: number, arg: Argument): number {
    // Its calls wait for the server in either mode.
    if (request === FIONBIO) return 0;
    if (request !== VFIO_MIG_GET_PRECOPY_INFO) return refuse("ENOTTY");
    const { size } = vfioPrecopyInfo;
    if (fromUser(vfioPrecopyInfo, arg).argsz < size) return refuse("EINVAL");
    this.#in("pre-copy");
    const { connection } = this.#device;
    if (connection.extension !== null) {
      bytesToUser(
        arg,
        0,
        this.#device.precopyInfo((arg as Uint8Array<ArrayBuffer>).slice(0, size)),
      );
      return 0;
    }
    // The protocol has no estimate: there is something until a read came short.
    const initial_bytes = this.#drained ? 0n : BigInt(connection.maxRead);
    bytesToUser(arg, 0, vfioPrecopyInfo.pack({ initial_bytes }));
    return 0;
  }
}
