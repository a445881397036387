/**
 * A v2 device at the level of raw calls: each answer is judged by the check, none is tolerated or
 * mended here.
 *
 * @module
 */

import type { Kernel } from "../../kernel/kernel.ts";
import {
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_GET as GET,
  VFIO_DEVICE_FEATURE_MIG_DATA_SIZE,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE as MIG_DEVICE_STATE,
  VFIO_DEVICE_FEATURE_MIGRATION,
  VFIO_DEVICE_FEATURE_PROBE as PROBE,
  VFIO_DEVICE_FEATURE_SET as SET,
  VFIO_DEVICE_RESET,
  VFIO_MIG_GET_PRECOPY_INFO,
  vfioDeviceFeature,
  vfioDeviceFeatureMigDataSize,
  vfioDeviceFeatureMigration,
  vfioDeviceFeatureMigState,
  type VfioPrecopyInfo,
  vfioPrecopyInfo,
} from "../../uapi/mod.ts";
import type { VfioDevice } from "../../vfio/device/device.ts";
import { type Attempt, attempt } from "../attempt.ts";
import { Finding } from "../verdict.ts";
import { ERROR, RESUMING, RUNNING, stateName, STOP, STOP_COPY } from "./states.ts";

const HEADER = 8;

/** Uint8Array<ArrayBuffer> of one read of a data_fd, unless a check says otherwise. */
export const READ_BYTES: number = 1024 * 1024;

/** The most of a state that a check keeps in memory, in bytes. */
export const STATE_MAX: number = 256 * 1024 * 1024;

/** The answer to a SET of MIG_DEVICE_STATE. */
export interface SetAnswer {
  /** The errno's name; null if it succeeded. */
  readonly errno: string | null;
  /** data_fd as it came back. */
  readonly dataFd: number;
}

/** Uint8Array<ArrayBuffer> of a state, as they were read. */
export interface Stream {
  /** The bytes of each read. */
  readonly chunks: readonly Uint8Array<ArrayBuffer>[];
  /** All of them together. */
  readonly bytes: number;
}

/** What a check and its helpers share. */
export interface Steps {
  /** Adds a step to what was done. */
  step(text: string): void;
}

/** A v2 device, call by call. */
export class V2Device {
  /** VFIO_MIGRATION_*. */
  readonly flags: number;
  readonly #kernel: Kernel;
  readonly #device: () => VfioDevice;
  readonly #steps: Steps;
  readonly #fds = new Set<number>();

  /** `device` answers the open device, which a check may close and open again. */
  constructor(kernel: Kernel, device: () => VfioDevice, flags: number, steps: Steps) {
    this.#kernel = kernel;
    this.#device = device;
    this.flags = flags;
    this.#steps = steps;
  }

  /** VFIO_DEVICE_FEATURE with these flags, this payload and, if it is to be wrong, this argsz. */
  feature(
    flags: number,
    payload: Uint8Array<ArrayBuffer> = new Uint8Array(0),
    argsz?: number,
  ): Attempt<Uint8Array<ArrayBuffer>> {
    const argument = new Uint8Array(HEADER + payload.length);
    const view = new DataView(argument.buffer);
    view.setUint32(0, argsz ?? argument.length, true);
    view.setUint32(4, flags >>> 0, true);
    argument.set(payload, HEADER);
    return attempt(() => {
      this.#kernel.ioctl(this.#device().fd.number, VFIO_DEVICE_FEATURE, argument, "once");
      return argument.slice(HEADER);
    });
  }

  /** Whether a feature answers a PROBE. */
  has(feature: number, operation: number): boolean {
    return this.feature(PROBE | operation | feature).errno === null;
  }

  /** A GET of MIGRATION. */
  readFlags(): Attempt<bigint> {
    const answer = this.feature(GET | VFIO_DEVICE_FEATURE_MIGRATION, new Uint8Array(8));
    if (answer.errno !== null) return answer;
    return { value: vfioDeviceFeatureMigration.unpack(answer.value).flags, errno: null };
  }

  /** A GET of MIG_DEVICE_STATE. */
  get(): Attempt<{ readonly state: number; readonly dataFd: number }> {
    const answer = this.feature(GET | MIG_DEVICE_STATE, new Uint8Array(8));
    if (answer.errno !== null) return answer;
    const { device_state, data_fd } = vfioDeviceFeatureMigState.unpack(answer.value);
    return { value: { state: device_state, dataFd: data_fd }, errno: null };
  }

  /**
   * The state by a GET.
   *
   * @throws {Finding} `fail` if the GET fails.
   */
  state(): number {
    const { value, errno } = this.get();
    if (value !== null) return value.state;
    throw new Finding("fail", "GET of MIG_DEVICE_STATE succeeds", `it failed with ${errno}`);
  }

  /** A SET of MIG_DEVICE_STATE; a data_fd that it gives is closed when the check ends. */
  set(target: number, dataFd = -1): SetAnswer {
    const payload = vfioDeviceFeatureMigState.pack({ device_state: target, data_fd: dataFd });
    const argument = vfioDeviceFeature.pack({ flags: SET | MIG_DEVICE_STATE, data: payload });
    const { errno } = attempt(() =>
      this.#kernel.ioctl(this.#device().fd.number, VFIO_DEVICE_FEATURE, argument, "once")
    );
    const answer = vfioDeviceFeatureMigState.unpack(argument, HEADER);
    const fd = errno === null && answer.data_fd !== dataFd ? answer.data_fd : -1;
    if (fd >= 0) this.#fds.add(fd);
    const gave = fd >= 0 ? `, data_fd ${fd}` : "";
    this.#steps.step(`SET ${stateName(target)} → ${errno ?? `success${gave}`}`);
    return { errno, dataFd: errno === null ? answer.data_fd : -1 };
  }

  /**
   * Brings the device into a state that the check begins in.
   *
   * @returns The data_fd; -1 if the SET gave none.
   * @throws {Finding} `unclear` if that fails.
   */
  enter(state: number): number {
    const { errno, dataFd } = this.set(state);
    if (errno === null) return dataFd;
    throw new Finding(
      "unclear",
      null,
      `the check needs the device in ${stateName(state)}, and the SET failed with ${errno}`,
    );
  }

  /**
   * As {@linkcode V2Device.enter}, for a state that must give a data_fd.
   *
   * @throws {Finding} `unclear` if it gives none.
   */
  open(state: number): number {
    const dataFd = this.enter(state);
    if (dataFd >= 0) return dataFd;
    throw new Finding("unclear", null, `the SET of ${stateName(state)} gave no data_fd`);
  }

  /** One read of a data_fd. */
  read(fd: number, bytes: number = READ_BYTES): Attempt<Uint8Array<ArrayBuffer>> {
    const buffer = new Uint8Array(bytes);
    return attempt(() => buffer.subarray(0, this.#kernel.read(fd, buffer, "once")));
  }

  /** One write to a data_fd. */
  write(fd: number, bytes: Uint8Array<ArrayBuffer>): Attempt<number> {
    return attempt(() => this.#kernel.write(fd, bytes, "once"));
  }

  /**
   * Writes all of a stream, `pieces` bytes at a time.
   *
   * @returns The errno's name of the write that failed; null if all was taken.
   */
  writeAll(fd: number, stream: Stream, pieces: number = READ_BYTES): string | null {
    let written = 0;
    let errno: string | null = null;
    writing: for (const chunk of stream.chunks) {
      for (let at = 0; at < chunk.length;) {
        const answer = this.write(fd, chunk.subarray(at, at + pieces));
        errno = answer.errno ?? (answer.value === 0 ? "a write of 0 bytes" : null);
        if (errno !== null) break writing;
        at += answer.value!;
        written += answer.value!;
      }
    }
    this.#steps.step(`write ${written} bytes → ${errno ?? "success"}`);
    return errno;
  }

  /**
   * Reads a data_fd to its end: a read of 0 bytes, or in pre-copy ENOMSG.
   *
   * @param sizes Uint8Array<ArrayBuffer> of each read, in turn.
   * @param most Ends after so many bytes; by default what a check may keep.
   * @throws {Finding} `fail` if a read fails in another way, `unclear` if there is too much.
   */
  readAll(fd: number, sizes: readonly number[] = [READ_BYTES], most: number = STATE_MAX): Stream {
    const chunks: Uint8Array<ArrayBuffer>[] = [];
    let bytes = 0;
    for (let turn = 0;; turn += 1) {
      const { value, errno } = this.read(fd, sizes[turn % sizes.length]);
      if (errno === "ENOMSG" || value?.length === 0) {
        this.#steps.step(`read ${bytes} bytes, to the end`);
        return { chunks, bytes };
      }
      if (value === null) {
        throw new Finding(
          "fail",
          "the data can be read to its end",
          `a read failed with ${errno} after ${bytes} bytes`,
        );
      }
      chunks.push(value.slice());
      bytes += value.length;
      if (bytes > most) {
        throw new Finding("unclear", null, `there is more data than ${most} bytes`);
      }
    }
  }

  /** VFIO_MIG_GET_PRECOPY_INFO. */
  precopyInfo(fd: number, fields: Partial<VfioPrecopyInfo> = {}): Attempt<VfioPrecopyInfo> {
    const argument = vfioPrecopyInfo.pack(fields);
    if (fields.argsz !== undefined) {
      new DataView(argument.buffer).setUint32(0, fields.argsz, true);
    }
    return attempt(() => {
      this.#kernel.ioctl(fd, VFIO_MIG_GET_PRECOPY_INFO, argument);
      return vfioPrecopyInfo.unpack(argument);
    });
  }

  /** A GET of MIG_DATA_SIZE. */
  dataSize(): Attempt<bigint> {
    const answer = this.feature(GET | VFIO_DEVICE_FEATURE_MIG_DATA_SIZE, new Uint8Array(8));
    if (answer.errno !== null) return answer;
    return {
      value: vfioDeviceFeatureMigDataSize.unpack(answer.value).stop_copy_length,
      errno: null,
    };
  }

  /** VFIO_DEVICE_RESET. */
  reset(): string | null {
    const { errno } = attempt(() =>
      this.#kernel.ioctl(this.#device().fd.number, VFIO_DEVICE_RESET)
    );
    this.#steps.step(`VFIO_DEVICE_RESET → ${errno ?? "success"}`);
    return errno;
  }

  /**
   * Reads the state of a stopped device, and lets it run again.
   *
   * @throws {Finding} If that fails.
   */
  save(): Stream {
    const fd = this.open(STOP_COPY);
    const stream = this.readAll(fd);
    this.close(fd);
    this.enter(RUNNING);
    return stream;
  }

  /**
   * Brings the device into RESUMING and gives it a state that it gave before.
   *
   * @returns The data_fd.
   * @throws {Finding} `unclear` if it refuses.
   */
  load(stream: Stream): number {
    const fd = this.open(RESUMING);
    const errno = this.writeAll(fd, stream);
    if (errno === null) return fd;
    throw new Finding("unclear", null, `the device refused its own state with ${errno}`);
  }

  /** Closes a data_fd. */
  close(fd: number): void {
    if (!this.#fds.delete(fd)) return;
    attempt(() => this.#kernel.close(fd));
  }

  /** Closes the data_fds that are still open. */
  closeAll(): void {
    for (const fd of [...this.#fds]) this.close(fd);
  }

  /**
   * Brings the device to RUNNING by its steps.
   *
   * @returns The state that it is in; null if it cannot be read.
   */
  bringBack(): number | null {
    const { value } = this.get();
    let state = value?.state ?? null;
    for (const target of [RUNNING, STOP, RUNNING]) {
      // No step leads out of ERROR, and the kernel warns of one that is tried.
      if (state === null || state === RUNNING || state === ERROR) break;
      this.set(target);
      state = this.get().value?.state ?? null;
    }
    return state;
  }
}
