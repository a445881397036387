/**
 * Connects to the other side of a migration over TCP.
 *
 * @module
 */

import * as net from "node:net";
import type { Duplex } from "node:stream";
import * as tls from "node:tls";
import { formatTcpAddress, isLoopback, type TcpAddress } from "./address.ts";
import { CERTIFICATE_NAME, type TlsIdentity } from "./keys.ts";
import { TcpError } from "./tcp_error.ts";

/** Milliseconds for a connection to come about, handshake included. */
export const CONNECT_MS = 20_000;

/** How to connect. */
export interface TcpOptions {
  /** Gives up. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds until it gives up by itself. Default 20 000. */
  readonly timeoutMs?: number | undefined;
}

/**
 * Connects with TLS 1.3, both sides authenticated; in plain, to this machine only, if there is no
 * identity.
 *
 * @throws {TcpError} If no connection comes about, or the peer is not one of the accepted ones.
 */
export async function connectTcp(
  address: TcpAddress,
  identity: TlsIdentity | null,
  { signal, timeoutMs = CONNECT_MS }: TcpOptions = {},
): Promise<Duplex> {
  const where = formatTcpAddress(address);
  signal?.throwIfAborted();
  if (identity === null) checkPlain(address);
  const socket = identity === null
    ? net.connect({ host: address.host, port: address.port })
    : tls.connect({
      ...tlsOptions(identity),
      host: address.host,
      port: address.port,
      servername: identity.peerName ?? CERTIFICATE_NAME,
    });
  const connected = Promise.withResolvers<void>();
  const timer = setTimeout(
    () => connected.reject(new TcpError("timeout", `${where} does not answer`)),
    timeoutMs,
  );
  const abort = (): void => connected.reject(signal!.reason);
  signal?.addEventListener("abort", abort);
  socket.once(identity === null ? "connect" : "secureConnect", connected.resolve);
  socket.once("error", (error) => connected.reject(errorOf(where, error)));
  socket.once("close", () => {
    connected.reject(new TcpError("not-accepted", `${where} closed the connection`));
  });
  try {
    await connected.promise;
    return socket;
  } catch (error) {
    // Errors that still come have nobody to go to.
    socket.on("error", () => {});
    socket.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
}

/**
 * Refuses an address that others can reach, or that is of another machine: what is sent in plain can be read and changed on the way.
 *
 * @throws {TcpError} If it is not the loopback's (`bad-address`).
 */
export function checkPlain(address: TcpAddress): void {
  if (isLoopback(address.host)) return;
  throw new TcpError(
    "bad-address",
    `Cannot use ${formatTcpAddress(address)} in plain: it is not a loopback address`,
    undefined,
    "Only 127.0.0.1 and [::1] are used in plain; for others, both sides need a key",
  );
}

/** What both sides ask of TLS. Peers prove that they have the key of a certificate in `ca`. */
export function tlsOptions({ key, certificate, peers }: TlsIdentity): tls.SecureContextOptions & {
  readonly rejectUnauthorized: true;
} {
  return {
    key,
    cert: certificate,
    ca: [...peers],
    minVersion: "TLSv1.3",
    rejectUnauthorized: true,
  };
}

const UNREACHABLE = /ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|refused/;

function errorOf(where: string, error: Error): TcpError {
  const { code } = error as { readonly code?: unknown };
  return UNREACHABLE.test(typeof code === "string" ? code : error.message)
    ? new TcpError("unreachable", `Cannot connect to ${where}: ${error.message}`, error)
    : new TcpError("not-accepted", `Cannot trust ${where}: ${error.message}`, error);
}
