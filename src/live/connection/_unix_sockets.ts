/** What a runtime's unix sockets have to offer. */

import type { Connection } from "./connection.ts";

/** What happens at a path that is listened on. */
export interface ListenEvents {
  /** Somebody has connected. */
  accepted(connection: Connection): void;
  /** Connections cannot be accepted any more. Closing is no failure. */
  failed(error: unknown): void;
}

/** A runtime's unix sockets. */
export interface UnixSockets {
  /** Listens on a path, until it is closed. */
  listen(path: string, name: string, events: ListenEvents): Promise<{ close(): void }>;
  /** Connects to a path. */
  connect(path: string, name: string): Promise<Connection>;
  /** Takes a connected socket over, of any family. */
  adopt(fd: number, name: string): Promise<Connection>;
}
