/**
 * Addresses of the other side of a migration.
 *
 * @module
 */

import process from "node:process";
import {
  connectFd,
  type Connection,
  connectProgram,
  connectTcp,
  connectUnix,
  formatTcpAddress,
  parseTcpAddress,
  readIdentity,
  streamConnection,
  TcpListener,
  type TlsIdentity,
  UnixListener,
} from "../../src/live/mod.ts";
import { UsageError } from "../usage_error.ts";

/** The parsed options about who the sides are. */
export interface TlsArgs {
  /** `--key`. */
  readonly key?: string | undefined;
  /** `--certificate`. */
  readonly certificate?: string | undefined;
  /** `--peer`. */
  readonly peer: readonly string[];
  /** `--insecure-plain`. */
  readonly insecurePlain: boolean;
}

/** Who this side is, and which peers it accepts; null for a connection in plain. */
function identity({ key, certificate, peer, insecurePlain }: TlsArgs): TlsIdentity | null {
  const given = key !== undefined || certificate !== undefined || peer.length > 0;
  if (insecurePlain) {
    if (!given) return null;
    throw new UsageError("Cannot use --insecure-plain with a key or certificate");
  }
  if (key !== undefined && certificate !== undefined && peer.length > 0) {
    return readIdentity({ key, certificate, peers: peer });
  }
  throw new UsageError(
    "Expected --key, --certificate and --peer: over TCP both sides prove who they are",
  );
}

/** Refuses options that only TCP has a use for. */
function refuseTls(address: string, { key, certificate, peer, insecurePlain }: TlsArgs): void {
  if (key === undefined && certificate === undefined && peer.length === 0 && !insecurePlain) return;
  throw new UsageError(`Cannot use a key or --insecure-plain with "${address}": it is not tcp://`);
}

/**
 * Connects to where `receive` listens.
 *
 * @throws {UsageError} If it is no address, or the options do not fit it.
 */
export async function connect(
  address: string,
  args: TlsArgs,
  signal: AbortSignal,
): Promise<Connection> {
  if (address.startsWith("tcp:")) {
    const socket = await connectTcp(parseTcpAddress(address), identity(args), { signal });
    return streamConnection(address, socket, socket);
  }
  refuseTls(address, args);
  const [, scheme, rest] = /^(unix|exec):(.+)$/s.exec(address) ?? [];
  if (scheme === "unix") return await connectUnix(rest!);
  if (scheme === "exec") return await connectProgram(rest!);
  const [, fd] = /^fd:(\d{1,9})$/.exec(address) ?? [];
  if (fd !== undefined) return await connectFd(Number(fd));
  throw new UsageError(
    `Cannot connect to "${address}": an address is unix:PATH, tcp://HOST:PORT, exec:COMMAND or fd:N`,
  );
}

/**
 * Refuses several streams to an address that only one connection leads to.
 *
 * @throws {UsageError} If it is such an address.
 */
export function refuseStreams(address: string, streams: number): void {
  if (streams === 1 || !/^(exec|fd):/.test(address)) return;
  const what = address.startsWith("exec:")
    ? "stdin and stdout of a program are one connection"
    : "it is one connection";
  throw new UsageError(
    `Cannot use --streams ${streams} with "${address}": ${what}; unix:PATH and tcp://HOST:PORT ` +
      "take several",
  );
}

/** Where a connection comes from. */
export interface Listening extends Disposable {
  /** Its address, for messages. */
  readonly address: string;
  /** The next connection; rejects once the signal is aborted. */
  next(signal?: AbortSignal): Promise<Connection>;
  /** Whether another can come after the first. */
  readonly more: boolean;
}

/**
 * Waits for connections.
 *
 * @param refused Is called about peers that did not prove that they are accepted.
 * @throws {UsageError} If it is no address, or the options do not fit it.
 */
export async function listen(
  address: string,
  args: TlsArgs,
  refused: (text: string) => void,
): Promise<Listening> {
  if (address.startsWith("tcp:")) return await listenTcp(address, args, refused);
  refuseTls(address, args);
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
    throw new UsageError(
      `Cannot listen on "${address}": an address is unix:PATH, tcp://HOST:PORT or -`,
    );
  }
  const listener = await UnixListener.listen(path, {
    onRefused: (why) => refused(`a peer was refused: ${why}`),
  });
  return {
    address,
    more: true,
    next: (signal) => listener.next(signal),
    [Symbol.dispose]: () => listener.close(),
  };
}

async function listenTcp(
  address: string,
  args: TlsArgs,
  refused: (text: string) => void,
): Promise<Listening> {
  const onRefused = (peer: string, why: string): void => refused(`${peer} was refused: ${why}`);
  const wanted = parseTcpAddress(address);
  const listener = await TcpListener.listen(wanted, identity(args), { onRefused });
  // Port 0 has become a real one.
  const own = formatTcpAddress(listener.address);
  return {
    address: own,
    more: true,
    next: async (signal) => {
      const socket = await listener.accept(signal);
      return streamConnection(own, socket, socket);
    },
    [Symbol.dispose]: () => listener[Symbol.dispose](),
  };
}
