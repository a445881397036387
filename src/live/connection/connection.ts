/**
 * A connection between the two sides: bytes in order, both ways.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { Readable, Writable } from "node:stream";
import type { TLSSocket } from "node:tls";
import { LiveError } from "../live_error.ts";
import { WaitingBytes } from "./_waiting_bytes.ts";

/** A socket that other threads may read from and write to. */
export interface SharedSocket {
  /** Lets another thread do it; the fd stays that of the socket until it has. */
  lend<Value>(use: (fd: number) => Promise<Value>): Promise<Value>;
  /** Bytes that were sent and have not left this side yet, as its kernel counts them. */
  readonly unsent: number;
  /** Waits until there is something to read, or the end. */
  readable(): Promise<void>;
  /** Waits until there is room for more, or the end. */
  writable(): Promise<void>;
}

/** Bytes in order, both ways. The code that makes it authenticates the other side. */
export interface Connection {
  /** Its name, for messages. */
  readonly name: string;
  /**
   * Who the other side has proven to be, such as by the fingerprint of its certificate; absent if
   * that is the same for all that connect here.
   */
  readonly identity?: string | undefined;
  /** What is below it, if that is a socket without encryption: then nothing is read ahead. */
  readonly socket?: SharedSocket | undefined;
  /**
   * Reads the next bytes, as many as have come and there is room for, but at least one; 0 at the end.
   */
  read(into: Uint8Array): Promise<number>;
  /** Sends bytes; resolves once they may be overwritten. */
  write(bytes: Uint8Array): Promise<void>;
  /** Ends it, both ways. What was sent before still goes out. */
  close(): void;
}

/** Node's streams copy what they send: so much at a time, in bytes. */
const WRITE_BYTES = 256 << 10;

/**
 * A connection over a pair of Node streams: a socket, or two pipes. If the output is a TLS socket,
 * the certificate of the other side is its identity.
 */
export function streamConnection(name: string, input: Readable, output: Writable): Connection {
  const waiting = new WaitingBytes(input);
  input.on("data", (chunk: Uint8Array) => waiting.take(chunk));
  input.on("end", () => waiting.end());
  input.on("error", (error) => waiting.end(lost(name, error)));
  input.on("close", () => waiting.end(lost(name)));
  // It may have come and gone before it was taken: no event says so any more.
  if (input.destroyed) waiting.end(lost(name));
  let failure: Error | null = null;
  /** Ends the writes that are under way. */
  const writing = new Set<(error: Error) => void>();
  const end = (error?: Error): void => {
    failure ??= lost(name, error);
    for (const fail of writing) fail(failure);
  };
  const writePart = (bytes: Uint8Array): Promise<void> =>
    new Promise((resolve, reject) => {
      if (failure !== null) return reject(failure);
      writing.add(reject);
      const part = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      output.write(part, (error) => {
        writing.delete(reject);
        if (error) reject(lost(name, error));
        else resolve();
      });
    });
  output.on("error", end);
  output.on("close", () => end());
  return {
    name,
    identity: certificateOf(output),
    read: (into) => waiting.read(into),
    async write(bytes): Promise<void> {
      for (let at = 0; at < bytes.length; at += WRITE_BYTES) {
        await writePart(bytes.subarray(at, at + WRITE_BYTES));
      }
    },
    close(): void {
      output.end(() => input.destroy());
    },
  };
}

/** The SHA-256 of the certificate that the other side of a TLS socket has shown; not if it is gone. */
function certificateOf(socket: Writable): string | undefined {
  const { getPeerCertificate } = socket as Partial<TLSSocket>;
  return getPeerCertificate?.call(socket)?.fingerprint256;
}

/** The error of a connection that is lost. */
export function lost(name: string, cause?: unknown): LiveError {
  const why = cause instanceof Error ? `: ${cause.message}` : "";
  return new LiveError("connection-lost", `The connection to ${name} is lost${why}`, "", { cause });
}
