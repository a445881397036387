/**
 * The header of every vfio-user message (`struct vfio_user_header`).
 *
 * @module
 */

import { ERRNO } from "../../kernel/errno_names.ts";
import {
  VFIO_USER_F_ERROR,
  VFIO_USER_F_NO_REPLY,
  VFIO_USER_F_TYPE_COMMAND,
  VFIO_USER_F_TYPE_MASK,
  VFIO_USER_F_TYPE_REPLY,
} from "./commands.ts";
import { malformed } from "./wire_error.ts";

/** Size of a header in bytes. */
export const HEADER_SIZE = 16;

/** The highest errno that a reply is believed (MAX_ERRNO of include/linux/err.h). */
const MAX_ERRNO = 4095;

/** A header. */
export interface MessageHeader {
  /** The message's id: a reply has that of its command. */
  readonly id: number;
  /** `VFIO_USER_*`: the command, or the one that is replied to. */
  readonly command: number;
  /** Size of the whole message in bytes, header included. */
  readonly size: number;
  /** `VFIO_USER_F_*`. */
  readonly flags: number;
  /** In a reply with VFIO_USER_F_ERROR, the errno; may be 0. */
  readonly errno: number;
}

/** Writes a header at the start of a buffer. */
export function packHeader(header: MessageHeader, into: DataView): void {
  into.setUint16(0, header.id, true);
  into.setUint16(2, header.command, true);
  into.setUint32(4, header.size, true);
  into.setUint32(8, header.flags, true);
  into.setUint32(12, header.errno, true);
}

/**
 * Reads a header.
 *
 * @param maxSize The largest message that is taken, in bytes, header included.
 * @throws {WireError} If its size is less than a header's or more than `maxSize`, or its type is
 * unknown.
 *
 * @example
 * ```ts
 * import { HEADER_SIZE, packHeader, unpackHeader } from "./header.ts";
 * import assert from "node:assert/strict";
 *
 * const header = { id: 7, command: 13, size: HEADER_SIZE, flags: 0, errno: 0 };
 * const view = new DataView(new ArrayBuffer(HEADER_SIZE));
 * packHeader(header, view);
 * assert.deepEqual(unpackHeader(view, 4096), header);
 * assert.throws(() => unpackHeader(view, 8), /from 16 to 8/);
 * ```
 */
export function unpackHeader(view: DataView, maxSize: number): MessageHeader {
  const header = {
    id: view.getUint16(0, true),
    command: view.getUint16(2, true),
    size: view.getUint32(4, true),
    flags: view.getUint32(8, true),
    errno: view.getUint32(12, true),
  };
  const { size, flags } = header;
  if (size < HEADER_SIZE || size > maxSize) {
    throw malformed(
      `the size in a header is ${size}, which is not from ${HEADER_SIZE} to ${maxSize} bytes`,
    );
  }
  const type = flags & VFIO_USER_F_TYPE_MASK;
  if (type !== VFIO_USER_F_TYPE_COMMAND && type !== VFIO_USER_F_TYPE_REPLY) {
    throw malformed(`the type in a header is ${type}, which is neither command nor reply`);
  }
  return header;
}

/** Whether a message is a reply. */
export function isReply({ flags }: MessageHeader): boolean {
  return (flags & VFIO_USER_F_TYPE_MASK) === VFIO_USER_F_TYPE_REPLY;
}

/** Whether a command wants a reply. */
export function wantsReply({ flags }: MessageHeader): boolean {
  return (flags & VFIO_USER_F_NO_REPLY) === 0;
}

/**
 * The errno of a reply; 0 if the command succeeded. A reply that reports an error without a valid
 * errno counts as EINVAL, as in libvfio-user.
 */
export function errnoOf({ flags, errno }: MessageHeader): number {
  if ((flags & VFIO_USER_F_ERROR) === 0) return 0;
  return errno === 0 || errno > MAX_ERRNO ? ERRNO.EINVAL : errno;
}
