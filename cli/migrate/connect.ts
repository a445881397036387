/**
 * Addresses of the other side of a migration.
 *
 * @module
 */

import process from "node:process";
import {
  type Connection,
  connectProgram,
  connectUnix,
  streamConnection,
  UnixListener,
} from "../../src/live/mod.ts";
import { UsageError } from "../usage_error.ts";

/**
 * Connects to where `receive` listens.
 *
 * @throws {UsageError} If it is no address.
 */
export async function connect(address: string): Promise<Connection> {
  const [, scheme, rest] = /^(unix|exec):(.+)$/s.exec(address) ?? [];
  if (scheme === "unix") return await connectUnix(rest!);
  if (scheme === "exec") return await connectProgram(rest!);
  throw new UsageError(
    `Cannot connect to "${address}": an address is unix:PATH or exec:COMMAND`,
  );
}

/** Where a connection comes from. */
export interface Listening extends Disposable {
  /** Its address, for messages. */
  readonly address: string;
  /** The next connection. */
  next(): Promise<Connection>;
  /** Whether another can come after the first. */
  readonly more: boolean;
}

/**
 * Waits for connections.
 *
 * @throws {UsageError} If it is no address.
 */
export async function listen(address: string): Promise<Listening> {
  if (address === "-") {
    return {
      address: "stdin",
      more: false,
      next: () => Promise.resolve(streamConnection("stdin", process.stdin, process.stdout)),
      [Symbol.dispose]: () => {},
    };
  }
  const [, path] = /^unix:(.+)$/s.exec(address) ?? [];
  if (path === undefined) {
    throw new UsageError(`Cannot listen on "${address}": an address is unix:PATH or -`);
  }
  const listener = await UnixListener.listen(path);
  return {
    address,
    more: true,
    next: () => listener.next(),
    [Symbol.dispose]: () => listener.close(),
  };
}
