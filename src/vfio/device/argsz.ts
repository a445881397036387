/**
 * The argsz handshake: the caller says how much room there is, the kernel how
 * much it needs.
 *
 * @module
 */

import type { Fd } from "../../kernel/fd.ts";
import { ioctl, type IoctlRequest, requestName } from "../ioctl.ts";
import { AnswerError } from "./answer_error.ts";

/** More than any info struct with its capabilities needs, in bytes. */
export const ARGSZ_MAX: number = 64 * 1024;

/** How often an answer may grow before the call fails. */
const ROUNDS_MAX = 8;

/**
 * Calls an ioctl whose struct starts with `argsz` (u32), and repeats it with more room as long as
 * the answer needs more.
 *
 * @param input The struct as the first call gets it, argsz being its length.
 * @returns The answer, at least as long as `input`: the struct, and what follows it.
 * @throws {SysError} If the ioctl fails.
 * @throws {AnswerError} If the answer wants more than {@linkcode ARGSZ_MAX} bytes, or never settles.
 */
export function ioctlArgsz(
  fd: Fd,
  request: IoctlRequest,
  input: Uint8Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer> {
  let room = input.length;
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const buffer = new Uint8Array(new ArrayBuffer(room));
    const view = new DataView(buffer.buffer);
    buffer.set(input);
    view.setUint32(0, room, true);
    ioctl(fd, request, buffer);
    const needed = view.getUint32(0, true);
    // An argsz below the struct's size is wrong, but then nothing follows the struct.
    if (needed <= room) return buffer.subarray(0, Math.max(needed, input.length));
    if (needed > ARGSZ_MAX) {
      throw new AnswerError(
        `Cannot use the answer to ${requestName(request)} of ${fd.label}: ` +
          `argsz ${needed} is more than the limit of ${ARGSZ_MAX} bytes`,
        "argsz",
      );
    }
    room = needed;
  }
  throw new AnswerError(
    `Cannot use the answer to ${requestName(request)} of ${fd.label}: argsz grows with every call`,
    "argsz",
  );
}
