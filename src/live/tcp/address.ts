/**
 * Addresses of TCP: `tcp://HOST:PORT`.
 *
 * @module
 */

import { isIP } from "node:net";
import { TcpError } from "./tcp_error.ts";

/** Where to connect to, or to listen. */
export interface TcpAddress {
  /** A host's name, or an IP address without brackets. */
  readonly host: string;
  /** 0 to 65535; 0 lets the system choose, if it is listened on. */
  readonly port: number;
}

/**
 * Reads an address.
 *
 * @throws {TcpError} If it is none (`bad-address`).
 *
 * @example
 * ```ts
 * import { parseTcpAddress } from "vfiokit/live";
 * import assert from "node:assert/strict";
 *
 * assert.deepEqual(parseTcpAddress("tcp://lab-2:7000"), { host: "lab-2", port: 7000 });
 * assert.deepEqual(parseTcpAddress("tcp://[::1]:7000"), { host: "::1", port: 7000 });
 * assert.throws(() => parseTcpAddress("tcp://lab-2"), /no port/);
 * ```
 */
export function parseTcpAddress(text: string): TcpAddress {
  const bad = (why: string): never => {
    throw new TcpError(
      "bad-address",
      `"${text}" is no address: ${why}`,
      undefined,
      "An address is tcp://HOST:PORT",
    );
  };
  const match = /^tcp:\/\/(?:\[([^\]]+)\]|([^:/[\]]+))(?::(\d{1,5}))?$/.exec(text);
  if (match === null) return bad("it does not read tcp://HOST:PORT");
  const [, ipv6, name, port] = match;
  if (ipv6 !== undefined && isIP(ipv6) !== 6) {
    return bad("what is in the brackets is no IPv6 address");
  }
  if (port === undefined) return bad("it has no port");
  if (Number(port) > 65535) return bad("a port is at most 65535");
  return { host: (ipv6 ?? name)!, port: Number(port) };
}

/** An address as text, as {@linkcode parseTcpAddress} reads it. */
export function formatTcpAddress({ host, port }: TcpAddress): string {
  return `tcp://${isIP(host) === 6 ? `[${host}]` : host}:${port}`;
}

/** Whether an address is of this machine, without asking a name service. */
export function isLoopback(host: string): boolean {
  return host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}
