/**
 * A connection between the two sides: bytes in order, both ways.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { Readable, Writable } from "node:stream";
import { LiveError } from "../live_error.ts";

/** Bytes in order, both ways. The code that makes it authenticates the other side. */
export interface Connection {
  /** Its name, for messages. */
  readonly name: string;
  /** The next bytes; null at the end. */
  read(): Promise<Uint8Array | null>;
  /** Sends bytes; resolves once they may be overwritten. */
  write(bytes: Uint8Array): Promise<void>;
  /** Ends it, both ways. What was sent before still goes out. */
  close(): void;
}

/** A connection over a pair of Node streams: a socket, or two pipes. */
export function streamConnection(name: string, input: Readable, output: Writable): Connection {
  const chunks = input[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
  let failure: Error | null = null;
  const gone = Promise.withResolvers<never>();
  gone.promise.catch(() => {});
  const end = (error?: Error): void => {
    failure ??= lost(name, error);
    gone.reject(failure);
  };
  output.on("error", end);
  output.on("close", () => end());
  return {
    name,
    async read(): Promise<Uint8Array | null> {
      try {
        const { done, value } = await chunks.next();
        return done ? null : value;
      } catch (error) {
        throw lost(name, error);
      }
    },
    async write(bytes): Promise<void> {
      if (failure !== null) throw failure;
      const taken = Promise.withResolvers<void>();
      const part = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      output.write(part, (error) => error ? taken.reject(lost(name, error)) : taken.resolve());
      await Promise.race([taken.promise, gone.promise]);
    },
    close(): void {
      output.end(() => input.destroy());
    },
  };
}

function lost(name: string, cause: unknown): LiveError {
  const why = cause instanceof Error ? `: ${cause.message}` : "";
  return new LiveError("connection-lost", `The connection to ${name} is lost${why}`, "", { cause });
}
