/**
 * The socket file that clients connect to.
 */

import * as fs from "node:fs";
import { registerErrorClass } from "../../base/error_transfer.ts";
import { printable } from "../../base/printable.ts";
import { type Hint, VfiokitError } from "../../base/vfiokit_error.ts";
import { isErrno, SysError } from "../sys_error.ts";
import { UnixSocket } from "./unix_socket.ts";

/** Clients that may wait to be accepted. */
const BACKLOG = 64;

/** Why a socket file cannot be made. */
export type SocketFileErrorCode =
  /** Another process listens there. */
  | "in-use"
  /** There is another file of that name. */
  | "no-socket"
  /** The system refuses. */
  | "failed";

/**
 * A socket file cannot be made.
 *
 * @example
 * ```ts
 * import { SocketFileError } from "vfiokit/server";
 * import assert from "node:assert/strict";
 *
 * const error = new SocketFileError("in-use", "Cannot listen on /tmp/s: another process listens there");
 * assert.equal(error.code, "in-use");
 * ```
 */
export class SocketFileError extends VfiokitError {
  static {
    registerErrorClass(this);
  }

  /** Always `SocketFileError`. */
  override readonly name = "SocketFileError";
  /** Why. */
  readonly code: SocketFileErrorCode;

  /** Makes the error. */
  constructor(
    code: SocketFileErrorCode,
    message: string,
    options?: ErrorOptions,
    hint?: Hint | string,
  ) {
    super(printable(message), options, hint);
    this.code = code;
  }
}

/** A socket file, and the socket that listens there. */
export class SocketFile implements Disposable {
  /** Its path. */
  readonly path: string;
  /** The socket. */
  readonly socket: UnixSocket;
  readonly #inode: number;

  /**
   * Makes the file, for its owner alone. A socket that is left from a process that ended is
   * replaced.
   *
   * @throws {SocketFileError} If another process listens there, there is a file that is no socket,
   * or the system refuses.
   */
  constructor(path: string) {
    this.path = path;
    try {
      removeStale(path);
      this.socket = UnixSocket.listen(path, BACKLOG);
    } catch (error) {
      if (isErrno(error, "EADDRINUSE")) throw inUse(path, error);
      if (!(error instanceof SysError)) throw error;
      throw new SocketFileError("failed", `Cannot listen on ${path}: ${error.message}`, {
        cause: error,
      });
    }
    // A client that was quicker is refused for its user id, as all others are.
    fs.chmodSync(path, 0o600);
    this.#inode = fs.lstatSync(path).ino;
  }

  /** Closes the socket and removes the file, unless it is another one by now. */
  [Symbol.dispose](): void {
    this.socket.close();
    if (fs.lstatSync(this.path, { throwIfNoEntry: false })?.ino === this.#inode) {
      fs.unlinkSync(this.path);
    }
  }
}

function inUse(path: string, cause?: unknown): SocketFileError {
  return new SocketFileError(
    "in-use",
    `Cannot listen on ${path}: another process listens there`,
    { cause },
    "End that process, or choose another path",
  );
}

/** Removes a socket that nobody listens on any more. */
function removeStale(path: string): void {
  const before = fs.lstatSync(path, { throwIfNoEntry: false });
  if (before === undefined) return;
  if (!before.isSocket()) {
    throw new SocketFileError(
      "no-socket",
      `Cannot listen on ${path}: there is a file of that name that is no socket`,
      {},
      "Remove it, or choose another path",
    );
  }
  try {
    UnixSocket.connect(path).close();
  } catch (error) {
    if (!isErrno(error, "ECONNREFUSED")) throw error;
    // Not the socket of a server that was started since.
    if (fs.lstatSync(path, { throwIfNoEntry: false })?.ino === before.ino) fs.unlinkSync(path);
    return;
  }
  throw inUse(path);
}
