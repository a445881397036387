/**
 * Waits for the other side of a migration on a TCP port.
 *
 * @module
 */

import { once } from "node:events";
import * as net from "node:net";
import type { Duplex } from "node:stream";
import * as tls from "node:tls";
import { Arrivals } from "../connection/arrivals.ts";
import { freeInput } from "./_freed_input.ts";
import { holdBack } from "./_held_back.ts";
import { formatTcpAddress, type TcpAddress } from "./address.ts";
import { checkPlain, CONNECT_MS, tlsOptions } from "./connect.ts";
import type { TlsIdentity } from "./keys.ts";
import { TcpError } from "./tcp_error.ts";

/** How to listen. */
export interface ListenOptions {
  /** Is called with each peer that was not accepted, and why. */
  readonly onRefused?: ((peer: string, why: string) => void) | undefined;
  /** Milliseconds for a peer to prove itself. Default 20 000. */
  readonly handshakeMs?: number | undefined;
}

/** Connections at one time, those in their handshake included: more are closed at once. */
const MAX_CONNECTIONS = 64;

/** A port on which accepted peers connect. */
export class TcpListener implements Disposable {
  /** The address, with the port that was chosen. */
  readonly address: TcpAddress;
  readonly #server: net.Server;
  readonly #accepted = new Arrivals<Duplex>();

  private constructor(server: net.Server, address: TcpAddress) {
    this.#server = server;
    this.address = address;
  }

  /**
   * Listens. Peers must prove by TLS 1.3 that they are accepted ones; without an identity, in plain,
   * only this machine's own addresses can be listened on.
   *
   * @throws {TcpError} If it cannot listen there (`in-use`), or may not (`bad-address`).
   */
  static async listen(
    address: TcpAddress,
    identity: TlsIdentity | null,
    { onRefused, handshakeMs = CONNECT_MS }: ListenOptions = {},
  ): Promise<TcpListener> {
    if (identity === null) checkPlain(address);
    let listener: TcpListener | null = null;
    const accept = (socket: Duplex): void => {
      // A peer that breaks off is noticed when it is read from.
      socket.on("error", () => {});
      if ("Deno" in globalThis && socket instanceof tls.TLSSocket) {
        holdBack(socket);
        freeInput(socket);
      }
      listener!.#accepted.add(socket);
    };
    const server = identity === null ? net.createServer(accept) : tls.createServer(
      { ...tlsOptions(identity), requestCert: true, handshakeTimeout: handshakeMs },
      accept,
    );
    server.maxConnections = MAX_CONNECTIONS;
    server.on("tlsClientError", (error: Error, socket: tls.TLSSocket) => {
      onRefused?.(socket.remoteAddress ?? "a peer", error.message);
      // A peer whose time is over would stay connected otherwise.
      socket.destroy();
    });
    try {
      server.listen(address.port, address.host);
      await once(server, "listening");
    } catch (error) {
      const why = (error as Error).message;
      throw new TcpError("in-use", `Cannot listen on ${formatTcpAddress(address)}: ${why}`, error);
    }
    const { port } = server.address() as net.AddressInfo;
    listener = new TcpListener(server, { host: address.host, port });
    return listener;
  }

  /** Waits for an accepted peer. */
  accept(signal?: AbortSignal): Promise<Duplex> {
    return this.#accepted.next(signal);
  }

  /** Stops listening, and closes connections that nobody took. */
  [Symbol.dispose](): void {
    for (const socket of this.#accepted.drain()) socket.destroy();
    // It listens no more; connections that were handed on go on.
    this.#server.close();
    this.#server.unref();
  }
}
