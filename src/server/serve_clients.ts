/**
 * The server's loop: clients come, are answered, and go.
 */

import { cleanlyThen } from "../base/cleanup.ts";
import { VfiokitError } from "../base/vfiokit_error.ts";
import { POLLIN } from "../kernel/kernel.ts";
import { type Awaited, UnixSocket } from "../kernel/libc/unix_socket.ts";
import type { Wait } from "../vfio_user/wire/message_socket.ts";
import { WireError } from "../vfio_user/wire/wire_error.ts";
import { ClientConnection } from "./connection.ts";
import type { Acceptor, ServerEvent } from "./acceptor.ts";
import type { DeviceSource } from "./requests/open_device.ts";

/** How long a client is waited for in its turn by default, in milliseconds. */
const PATIENCE_MS = 10_000;

/** What a server works with. */
export interface ServerParts {
  /** The device. */
  readonly source: DeviceSource;
  /** Where clients come from. */
  readonly acceptor: Acceptor;
  /** How many clients there can be at a time; others wait. */
  readonly most: number;
  /** Readable, or closed at the other end, once the server is to stop. */
  readonly stop: UnixSocket;
  /** How long a client is waited for in its turn, in milliseconds; 10 s by default. */
  readonly patienceMs?: number | undefined;
  /** Called for each event. */
  readonly report: (event: ServerEvent) => void;
}

/** The server was asked to stop. */
class Stopped extends Error {}

/**
 * Serves clients until it is asked to stop, or no more can come and the last one is gone. One that
 * breaks the protocol, stalls in a message or is killed is dropped, and the next one is served.
 */
export function serveClients(parts: ServerParts): void {
  const { acceptor, most, stop } = parts;
  const clients = new Clients(parts);
  let ended = false;
  try {
    while (!ended || clients.list.length > 0) {
      const list = [...clients.list];
      const open = !ended && list.length < most;
      const eventfds = list.flatMap((client) => client.eventfds.map((fd) => ({ client, fd })));
      const before: Awaited["socket"][] = [stop, ...(open ? [acceptor.socket] : [])];
      const awaited = [...before, ...list.map(({ socket }) => socket), ...eventfds]
        .map((socket) => ({ socket, events: POLLIN }));
      const events = UnixSocket.wait(awaited, -1);
      if (events[0] !== 0) return;
      const ready = events.slice(before.length);
      for (const [n, { client, fd }] of eventfds.entries()) {
        if (ready[list.length + n] !== 0) clients.signalled(client, fd);
      }
      for (const [n, client] of list.entries()) if (ready[n] !== 0) clients.turn(client);
      if (!open || events[1] === 0) continue;
      const came = acceptor.accept();
      if (came === "ended") ended = true;
      else if (came !== null) clients.add(came.socket, came.pid);
    }
  } catch (error) {
    if (!(error instanceof Stopped)) throw error;
  } finally {
    clients.closeAll();
  }
}

/** The clients that are connected. */
class Clients {
  readonly list: ClientConnection[] = [];
  readonly #parts: ServerParts;
  /** How long the client whose turn it is was waited for, in milliseconds. */
  #waited = 0;

  constructor(parts: ServerParts) {
    this.#parts = parts;
  }

  add(socket: UnixSocket, pid: number): void {
    const { source, report } = this.#parts;
    try {
      const device = source.take();
      this.list.push(new ClientConnection(socket, device, this.#wait()));
      report({ type: "client", pid });
    } catch (error) {
      socket.close();
      if (!(error instanceof VfiokitError)) throw error;
      report({ type: "refused", why: error.message });
    }
  }

  /** Waits within a turn: not longer than a client may take, and not once the server is to stop. */
  #wait(): Wait {
    const { stop, patienceMs = PATIENCE_MS } = this.#parts;
    return (awaited) => {
      const left = patienceMs - this.#waited;
      if (left <= 0) throw new WireError("timeout", "the client stalled in a message");
      const begun = performance.now();
      const events = UnixSocket.wait([awaited, { socket: stop, events: POLLIN }], Math.ceil(left));
      this.#waited += performance.now() - begun;
      if (events[1] !== 0) throw new Stopped();
    };
  }

  turn(client: ClientConnection): void {
    this.#waited = 0;
    this.#drop(client, () => {
      if (!client.turn()) this.#gone(client, null);
    });
  }

  signalled(client: ClientConnection, eventfd: number): void {
    this.#drop(client, () => client.signalled(eventfd));
  }

  /** Works for a client, which is dropped if that fails. */
  #drop(client: ClientConnection, work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!(error instanceof VfiokitError)) throw error;
      this.#gone(client, error.message);
    }
  }

  #gone(client: ClientConnection, why: string | null): void {
    this.list.splice(this.list.indexOf(client), 1);
    const { source, report } = this.#parts;
    let failed: string | null = null;
    try {
      cleanlyThen(() => client[Symbol.dispose](), () => source.release());
    } catch (error) {
      if (!(error instanceof VfiokitError)) throw error;
      failed = error.message;
    }
    report({ type: "gone", why: why ?? failed });
  }

  closeAll(): void {
    for (const client of [...this.list]) this.#gone(client, null);
  }
}
