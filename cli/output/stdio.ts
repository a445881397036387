/**
 * Writes text to stdout and stderr synchronously: nothing is lost when the process exits, and a
 * closed reader is not an error.
 *
 * @module
 */

import { write, writeSync } from "node:fs";
import { getSystemErrorMap } from "node:util";

/** stdout. */
export const STDOUT = 1;
/** stderr. */
export const STDERR = 2;

/** How long to wait for a slow reader, in milliseconds. */
const EAGAIN_MS = 5;

const gone = new Set<number>();

/** The lines that stand below all that is written to stderr. */
let status: readonly string[] = [];

/**
 * Draws lines below all that is written to a stderr that is a terminal, in place of the last ones;
 * without any it ends that. What is too wide is cut by the terminal.
 */
export function drawStatus(...lines: readonly string[]): void {
  if (lines.length === 0 && status.length === 0) return;
  const before = lines.length === status.length ? toTop() : erased();
  status = lines;
  writeRaw(STDERR, new TextEncoder().encode(before + drawn()));
}

/** Moves the cursor to the beginning of the first line. */
function toTop(): string {
  return status.length > 1 ? `\x1b[${status.length - 1}A\r` : "\r";
}

/** Erases all lines. */
function erased(): string {
  return status.length > 1 ? `${toTop()}\x1b[J` : "\r\x1b[K";
}

function drawn(): string {
  if (status.length === 0) return "";
  return `\r\x1b[?7l${status.map((line) => `${line}\x1b[K`).join("\r\n")}\x1b[?7h`;
}

/** Whether a write has shown that the reader is gone. */
export function readerGone(fd: typeof STDOUT | typeof STDERR): boolean {
  return gone.has(fd);
}

/** The error of a stdout that cannot be written: a full disk, a terminal that hung up. */
export class StdoutError extends Error {
  /** Always `StdoutError`. */
  override readonly name = "StdoutError";
  /** The errno's name. */
  readonly code: string;

  /** Makes the error from what the write threw. */
  constructor(code: string, cause: unknown) {
    const text = new Map(getSystemErrorMap().values()).get(code);
    const why = text === undefined ? code : `${code}, ${text}`;
    super(`Cannot write to stdout: ${why}`, { cause });
    this.code = code;
  }
}

/**
 * Writes text to stdout or stderr; nothing if the reader is gone.
 *
 * @throws {StdoutError} If stdout does not take it. Of stderr there is nobody to tell.
 */
export function writeText(fd: typeof STDOUT | typeof STDERR, text: string): void {
  writeBytes(fd, new TextEncoder().encode(text));
}

/**
 * Writes bytes to stdout or stderr; nothing if the reader is gone.
 *
 * @throws {StdoutError} If stdout does not take them. Of stderr there is nobody to tell.
 */
export function writeBytes(fd: typeof STDOUT | typeof STDERR, bytes: Uint8Array): void {
  if (fd === STDOUT || status.length === 0) return writeRaw(fd, bytes);
  const encoder = new TextEncoder();
  for (const part of [encoder.encode(erased()), bytes, encoder.encode(drawn())]) writeRaw(fd, part);
}

function writeRaw(fd: typeof STDOUT | typeof STDERR, bytes: Uint8Array): void {
  if (gone.has(fd)) return;
  let rest = bytes;
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(fd, rest));
    } catch (error) {
      const { code } = error as { code?: unknown };
      if (code === "EAGAIN") {
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, EAGAIN_MS);
        continue;
      }
      if (code === "EPIPE") gone.add(fd);
      else if (typeof code !== "string") throw error;
      else if (fd === STDOUT) throw new StdoutError(code, error);
      return;
    }
  }
}

/**
 * Writes bytes to stdout as {@linkcode writeBytes} does, but doesn't block the event loop while the
 * reader is behind: a signal can end the wait.
 *
 * @throws {StdoutError} If stdout does not take it.
 */
export async function writeBytesPatiently(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  if (gone.has(STDOUT)) return;
  let rest = bytes;
  while (rest.length > 0) {
    try {
      rest = rest.subarray(await writeSome(rest));
    } catch (error) {
      const { code } = error as { code?: unknown };
      if (code === "EAGAIN") await new Promise((resolve) => setTimeout(resolve, EAGAIN_MS));
      else if (code === "EPIPE") return void gone.add(STDOUT);
      else if (typeof code === "string") throw new StdoutError(code, error);
      else throw error;
    }
  }
}

/** Writes on another thread. Deno's node:fs does that on the calling one. */
function writeSome(bytes: Uint8Array<ArrayBuffer>): Promise<number> {
  if ("Deno" in globalThis) return Deno.stdout.write(bytes);
  return new Promise((resolve, reject) => {
    write(STDOUT, bytes, 0, bytes.length, null, (error, count) => {
      if (error) reject(error);
      else resolve(count);
    });
  });
}
