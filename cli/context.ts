/**
 * The context of a command: where its results and notes go, its JSON document, and the signals that
 * arrived.
 *
 * @module
 */

import { setTimeout as sleep } from "node:timers/promises";
import { printable } from "../mod.ts";
import { DONE, FAILED } from "./exit_codes.ts";
import type { Explanation } from "./output/error_message.ts";
import { type Noted, noteEntries, noteLines } from "./output/notes.ts";
import type { Trace } from "../src/trace/mod.ts";
import type { StateName } from "../mod.ts";
import { Interrupted, type Signals } from "./signals.ts";
import { STDERR, STDOUT, StdoutError, writeText, writeTextPatiently } from "./output/stdio.ts";

/** Options of a context. */
export interface ContextOptions {
  /** The command as the user called it, for messages: `vfiokit save`. */
  readonly called: string;
  /** The name of the JSON document's schema: `save`. */
  readonly schema: string;
  /** Print one JSON document as the result. */
  readonly json: boolean;
  /** Print JSON Lines instead of a document. */
  readonly jsonLines?: boolean | undefined;
  /** Print neither notes nor progress. */
  readonly quiet: boolean;
  /** The signals of this process. */
  readonly signals: Signals;
}

/** How long to wait for a slow reader after a signal, in milliseconds. */
const LAST_LINE_MS = 250;

/** Where a command's results, notes and errors go. */
export class Context {
  /** Whether the result is one JSON document. */
  readonly json: boolean;
  /** Whether notes and progress are unwanted. */
  readonly quiet: boolean;
  /** The signals of this process. */
  readonly signals: Signals;
  /** Where readable results go: stderr if stdout carries the data itself. */
  resultFd: typeof STDOUT | typeof STDERR = STDOUT;
  /** Whether `--json` prints JSON Lines, an object at a time, and not one document. */
  readonly jsonLines: boolean;
  /**
   * Whether what the command did stands even where nobody hears of it: a device that is held, a
   * checkpoint in its place. Results that stdout does not take go to stderr then, and it goes on.
   */
  stands = false;
  /** The devices that are driven: what is noted of their drivers is told before the command ends. */
  drivers: readonly Noted[] = [];
  /** Where calls to the kernel are reported, if they are. */
  trace: Trace | undefined = undefined;
  readonly #called: string;
  readonly #document: Record<string, unknown>;
  #printed = false;
  #stdoutFailed = false;

  /** Makes the context of one run of a command. */
  constructor(options: ContextOptions) {
    this.json = options.json;
    this.jsonLines = options.jsonLines ?? false;
    this.quiet = options.quiet;
    this.signals = options.signals;
    this.#called = options.called;
    this.#document = { schema: `vfiokit/${options.schema}/1` };
  }

  /** Aborted at the first signal. */
  get signal(): AbortSignal {
    return this.signals.signal;
  }

  /** Waits for something that leaves nothing to clean up; rejects if a signal arrives. */
  async until<Value>(work: Promise<Value>): Promise<Value> {
    const { signal } = this;
    const end = Promise.withResolvers<never>();
    const onAbort = (): void => end.reject(signal.reason);
    signal.addEventListener("abort", onAbort);
    if (signal.aborted) onAbort();
    try {
      return await Promise.race([work, end.promise]);
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** Adds to the JSON document. bigint values become hex strings. */
  set(fields: Readonly<Record<string, unknown>>): void {
    Object.assign(this.#document, fields);
  }

  /**
   * Prints lines of the readable result; nothing with `--json`. Control characters are escaped, so
   * that each stays one line.
   */
  print(...lines: readonly string[]): void {
    this.#print(lines.map(printable));
  }

  /** Prints lines without text from outside; they may have colours. */
  printColoured(...lines: readonly string[]): void {
    this.#print(lines);
  }

  #print(lines: readonly string[]): void {
    if (!this.json && lines.length > 0) this.#write(this.resultFd, lines.join("\n") + "\n");
  }

  /** Prints a note on stderr, as {@linkcode Context.print} does; nothing with `--quiet`. */
  note(...lines: readonly string[]): void {
    this.noteColoured(...lines.map(printable));
  }

  /** The same for lines without text from outside; they may have colours. */
  noteColoured(...lines: readonly string[]): void {
    if (!this.quiet && lines.length > 0) writeText(STDERR, lines.join("\n") + "\n");
  }

  /** Prints one of JSON Lines. */
  line(fields: Readonly<Record<string, unknown>>): void {
    writeText(STDOUT, json(fields) + "\n");
  }

  /**
   * Prints a line of an endless result: an object as one of JSON Lines, or text without text from
   * outside. If the reader of stdout is slow, it waits for the reader or for a signal; after a
   * signal, a moment longer.
   *
   * @returns Whether the line was written. If it was not, stdout takes nothing more.
   */
  async lineInTime(line: Readonly<Record<string, unknown>> | string): Promise<boolean> {
    let written = false;
    const text = typeof line === "string" ? line : json(line);
    const work = writeTextPatiently(text + "\n").then(() => void (written = true));
    try {
      await this.until(work);
    } catch (error) {
      if (error !== this.signal.reason) throw error;
      await Promise.race([work, sleep(LAST_LINE_MS)]);
    }
    return written;
  }

  /**
   * Tells what is noted of the drivers, and prints the JSON document, where one is wanted; once. Of
   * JSON Lines only the error.
   */
  publish(): void {
    if (this.#printed) return;
    this.#printed = true;
    this.#tellNotes();
    this.#tellTrace();
    if (!this.json) return;
    if (!this.jsonLines) {
      this.#write(STDOUT, this.#text());
    } else if ("error" in this.#document) {
      this.line(this.#document);
    }
  }

  /** Writes the JSON document elsewhere; where that fails, stdout gets it, with the error. */
  async publishTo(write: (text: string) => Promise<void>): Promise<void> {
    await write(this.#text());
    this.#printed = true;
  }

  #tellNotes(): void {
    if (this.drivers.length === 0) return;
    this.set({ notes: noteEntries(this.drivers) });
    this.note(...noteLines(this.drivers));
  }

  #tellTrace(): void {
    if (this.trace === undefined) return;
    const { path, failure } = this.trace;
    this.set({ trace: { file: path, failed: failure?.code ?? null } });
  }

  #text(): string {
    return json(this.#document, 2) + "\n";
  }

  /**
   * Adds what a command that throws nothing has failed with: the document of a command that does
   * not end with exit code 0 has an `error`.
   */
  failed(code: string, message: string, deviceState: StateName | null = null): void {
    this.set({ error: { message, code, errno: null, deviceState, cleanup: [] } });
  }

  /** Adds that a signal ended the command, if one did and the command succeeds otherwise. */
  ending(exitCode: number): void {
    const { reason } = this.signal;
    if (exitCode === DONE || this.jsonLines || !(reason instanceof Interrupted)) return;
    if (!("error" in this.#document)) this.failed("interrupted", reason.message);
  }

  /** Runs a command to its end: the document, or the error, and the exit code. */
  async conclude(work: () => Promise<number>): Promise<number> {
    try {
      const exitCode = await work();
      this.ending(exitCode);
      this.publish();
      return exitCode === DONE && this.#stdoutFailed ? FAILED : exitCode;
    } catch (error) {
      return this.fail(await this.explain(error));
    }
  }

  /** What there is to say about an error of the command. */
  async explain(error: unknown): Promise<Explanation> {
    const { explain } = await import("./output/error_message.ts");
    return explain(error, this.signal.reason, this.#device);
  }

  /** Tells of a failure; returns its exit code. */
  fail(why: Explanation): number {
    this.say(why.message);
    for (const hint of why.hints) writeText(STDERR, `  hint: ${printable(hint)}\n`);
    for (const met of why.cleanup) writeText(STDERR, `  then, while cleaning up: ${met}\n`);
    const { message, code, errno, deviceState, cleanup } = why;
    this.set({ error: { message, code, errno, deviceState, cleanup } });
    if (deviceState !== null) this.#setState(deviceState);
    try {
      this.publish();
    } catch (error) {
      if (!(error instanceof StdoutError)) throw error;
      if (error.message !== message) this.say(error.message);
    }
    return why.exitCode;
  }

  /** The name of the only device that is driven; undefined if there are several, or none. */
  get #device(): string | undefined {
    return this.drivers.length === 1 ? this.drivers[0]!.name : undefined;
  }

  /** The state after a failure is the one that the error has, if it is about one device. */
  #setState(state: StateName): void {
    if (!("state" in this.#document) || this.drivers.length > 1) return;
    const { devices } = this.#document;
    if (Array.isArray(devices)) devices.forEach((device) => Object.assign(device, { state }));
    this.set({ state });
  }

  /** Says what went wrong on stderr, with `--quiet` too. */
  say(what: string): void {
    writeText(STDERR, `${this.#called}: ${printable(what)}\n`);
  }

  #write(fd: typeof STDOUT | typeof STDERR, text: string): void {
    try {
      writeText(this.#stdoutFailed ? STDERR : fd, text);
    } catch (error) {
      if (!this.stands || !(error instanceof StdoutError)) throw error;
      this.#stdoutFailed = true;
      this.say(`${error.message}; the work is done all the same, and its result follows here`);
      writeText(STDERR, text);
    }
  }
}

/** JSON with bigints as hex strings, and control characters escaped. */
function json(value: unknown, indent?: number): string {
  return JSON.stringify(value, hexBigints, indent).replace(
    RAW_IN_JSON,
    (letter) =>
      [...Array(letter.length).keys()].map((unit) =>
        `\\u${letter.charCodeAt(unit).toString(16).padStart(4, "0")}`
      ).join(""),
  );
}

/** Characters that JSON.stringify leaves as they are and {@linkcode printable} escapes. */
const RAW_IN_JSON = /[\u007f-\u009f\p{Cf}\p{Zl}\p{Zp}]/gu;

function hexBigints(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? `0x${value.toString(16)}` : value;
}
