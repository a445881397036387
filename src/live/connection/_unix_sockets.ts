/** What a runtime's unix sockets have to offer. */

import type { Connection } from "./connection.ts";

/** A runtime's unix sockets. */
export interface UnixSockets {
  /** Listens on a path, until it is closed. */
  listen(
    path: string,
    name: string,
    accepted: (connection: Connection) => void,
  ): Promise<{ close(): void }>;
  /** Connects to a path. */
  connect(path: string, name: string): Promise<Connection>;
}
