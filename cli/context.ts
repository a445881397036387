/**
 * The context of a command: where its results and notes go, its JSON document, and the signals that
 * arrived.
 *
 * @module
 */

import { setTimeout as sleep } from "node:timers/promises";
import { printable } from "../src/base/printable.ts";
import { DONE, FAILED } from "./exit_codes.ts";
import type { Explanation } from "./output/error_message.ts";
import { JsonFile } from "./output/json_file.ts";
import { type Noted, noteEntries, noteLines } from "./output/notes.ts";
import type { Trace } from "../src/trace/mod.ts";
import type { StateName } from "../mod.ts";
import { Interrupted, type SignalName, type Signals } from "./signals.ts";
import { STDERR, STDOUT, StdoutError, writeBytes, writeText } from "./output/stdio.ts";
import { hasReader, type Part, StdoutQueue } from "./output/stdout_queue.ts";

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
  /** The file that JSON goes to; without it, it goes where results go. */
  readonly jsonFile?: string | undefined;
  /** Where results go: stdout by default. */
  readonly resultFd?: typeof STDOUT | typeof STDERR;
  /** Print neither notes, progress nor summaries. */
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
  /** Whether notes, progress and summaries are unwanted. */
  readonly quiet: boolean;
  /** The signals of this process. */
  readonly signals: Signals;
  /** Where results go: stderr if stdout carries a checkpoint, or is a program's. */
  resultFd: typeof STDOUT | typeof STDERR;
  /** Whether `--json` prints JSON Lines, an object at a time, and not one document. */
  readonly jsonLines: boolean;
  /**
   * Whether what the command did stands even if its result cannot be printed: a device that is
   * held, a checkpoint in its place. Results that stdout does not take go to stderr then, and it
   * goes on.
   */
  stands = false;
  /** The devices that are driven: notes about their drivers are printed before the command ends. */
  drivers: readonly Noted[] = [];
  /** Where calls to the kernel are reported, if they are. */
  trace: Trace | undefined = undefined;
  readonly #called: string;
  readonly #jsonFile: JsonFile | null;
  readonly #document: Record<string, unknown>;
  readonly #queue = new StdoutQueue();
  readonly #hasReader: boolean = hasReader();
  readonly #hurry = new AbortController();
  /** Ends the waits for the reader of stdout. */
  readonly #impatient: AbortSignal;
  #printed = false;
  #stdoutFailed = false;

  /** Makes the context of one run of a command. */
  constructor(options: ContextOptions) {
    this.json = options.json;
    this.jsonLines = options.jsonLines ?? false;
    this.quiet = options.quiet;
    this.signals = options.signals;
    this.resultFd = options.resultFd ?? STDOUT;
    this.#called = options.called;
    this.#jsonFile = options.jsonFile === undefined ? null : new JsonFile(options.jsonFile);
    this.#impatient = AbortSignal.any([options.signals.signal, this.#hurry.signal]);
    this.#document = { schema: `vfiokit/${options.schema}/1` };
  }

  /** Aborted at the first signal. */
  get signal(): AbortSignal {
    return this.signals.signal;
  }

  /** Waits for something that leaves nothing to clean up; rejects if a signal arrives. */
  async until<Value>(work: Promise<Value>, signal: AbortSignal = this.signal): Promise<Value> {
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

  /** Prints lines that sum up work; nothing with `--quiet` or `--json`. */
  summarize(...lines: readonly string[]): void {
    if (!this.quiet) this.print(...lines);
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

  /** Prints on stderr what somebody has to do something about, with `--quiet` too. */
  alert(line: string): void {
    this.#write(STDERR, printable(line) + "\n");
  }

  /** The same as {@linkcode Context.note} for lines without text from outside, with colours. */
  noteColoured(...lines: readonly string[]): void {
    if (!this.quiet && lines.length > 0) this.#write(STDERR, lines.join("\n") + "\n");
  }

  /**
   * Prints lines of a long result: objects as JSON Lines, or text without text from outside. If the reader of stdout is slow, it waits for the reader or for a signal; after a
   * signal, a moment longer.
   *
   * @returns Whether they were written. If they were not, stdout takes nothing more.
   */
  async linesInTime(
    ...lines: readonly (Readonly<Record<string, unknown>> | string)[]
  ): Promise<boolean> {
    const texts = lines.map((line) => typeof line === "string" ? line : json(line));
    const text = texts.join("\n") + "\n";
    if (this.json) this.#writeJson(text);
    else this.#write(this.resultFd, text);
    return await this.#written();
  }

  /**
   * Writes part of a result.
   *
   * @throws {StdoutError} If stdout does not take it.
   * @throws The signal, if one comes while the reader of stdout is behind.
   */
  async writeResult(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    this.#write(this.resultFd, bytes);
    await this.#demandWritten();
  }

  /** Ends waits for the reader of stdout, because a program was sent a signal in our place. */
  hurry(name: SignalName): void {
    this.#hurry.abort(new Interrupted(name));
  }

  /**
   * Waits until all is written that goes to stdout, or for a signal; then a moment longer.
   *
   * @returns Whether it was written; if not, it never will be.
   */
  async #written(): Promise<boolean> {
    const work = this.#queue.written();
    try {
      await this.until(work, this.#impatient);
      return true;
    } catch (error) {
      if (error instanceof StdoutError) return this.#instead(error.message, error);
      if (error !== this.#impatient.reason) throw error;
    }
    await Promise.race([work.catch(() => {}), sleep(LAST_LINE_MS)]);
    if (this.#queue.empty) return true;
    if (this.stands) return !this.#instead("Nobody reads stdout", this.#impatient.reason);
    this.#queue.take();
    return false;
  }

  async #demandWritten(): Promise<void> {
    if (!await this.#written()) throw this.#impatient.reason;
  }

  /**
   * Prints the notes about drivers and, with `--json`, the document (of JSON Lines the error alone),
   * once; then waits until all is written.
   *
   * @throws {StdoutError} If stdout does not take it.
   * @throws The signal, if one comes while the reader of stdout is behind.
   */
  async publish(): Promise<void> {
    if (!this.#printed) {
      this.#printed = true;
      this.#tellNotes();
      this.#tellTrace();
      if (this.json && !this.jsonLines) this.#writeJson(this.#text());
      else if (this.json && "error" in this.#document) {
        this.#writeJson(json(this.#document) + "\n");
      }
      this.#jsonFile?.[Symbol.dispose]();
    }
    await this.#demandWritten();
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

  /**
   * Adds what ended a command whose results stand, such as the exit code of a program. JSON Lines
   * have no line for it: they stay what their reader takes.
   */
  endedBy(code: string, message: string): void {
    if (!this.jsonLines) this.failed(code, message);
  }

  /** Adds that a signal ended the command, if one did and the command succeeds otherwise. */
  ending(exitCode: number): void {
    const { reason } = this.signal;
    if (exitCode === DONE || !(reason instanceof Interrupted)) return;
    if (!("error" in this.#document)) this.endedBy("interrupted", reason.message);
  }

  /** Runs a command to its end: the document, or the error, and the exit code. */
  async conclude(work: () => Promise<number>): Promise<number> {
    try {
      const exitCode = await work();
      this.ending(exitCode);
      await this.publish();
      return exitCode === DONE && this.#stdoutFailed ? FAILED : exitCode;
    } catch (error) {
      return await this.fail(await this.explain(error));
    }
  }

  /** What there is to say about an error of the command. */
  async explain(error: unknown): Promise<Explanation> {
    const { explain } = await import("./output/error_message.ts");
    return explain(error, this.signal.reason, this.#device);
  }

  /** Tells of a failure; returns its exit code. */
  async fail(why: Explanation): Promise<number> {
    // What was printed before comes first, if it can be had.
    if (!this.#queue.empty) {
      await Promise.race([this.#queue.written().catch(() => {}), sleep(LAST_LINE_MS)]);
    }
    this.say(why.message);
    for (const hint of why.hints) writeText(STDERR, `  hint: ${printable(hint)}\n`);
    for (const met of why.cleanup) writeText(STDERR, `  then, while cleaning up: ${met}\n`);
    const { message, code, errno, deviceState, cleanup } = why;
    this.set({ error: { message, code, errno, deviceState, cleanup } });
    if (deviceState !== null) this.#setState(deviceState);
    try {
      await this.publish();
    } catch (error) {
      if (error === this.#impatient.reason) return why.exitCode;
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

  #writeJson(text: string): void {
    if (this.#jsonFile === null) this.#write(this.resultFd, text);
    else this.#jsonFile.write(text);
  }

  #write(fd: typeof STDOUT | typeof STDERR, text: string | Uint8Array<ArrayBuffer>): void {
    const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
    const target = this.#stdoutFailed ? STDERR : fd;
    // What comes after something that waits for the reader of stdout waits as well.
    if ((target === STDOUT && this.#hasReader) || !this.#queue.empty) {
      this.#queue.add({ fd: target, bytes });
      return;
    }
    try {
      writeBytes(target, bytes);
    } catch (error) {
      if (!(error instanceof StdoutError)) throw error;
      this.#instead(error.message, error, [{ fd: target, bytes }]);
    }
  }

  /** Writes to stderr what stdout did not take, if the work stands; else throws the error. */
  #instead(why: string, error: unknown, left: readonly Part[] = this.#queue.take()): boolean {
    if (!this.stands) throw error;
    this.#stdoutFailed = true;
    this.say(`${why}; the work is done all the same, and its result follows here`);
    for (const { bytes } of left) writeBytes(STDERR, bytes);
    return true;
  }
}

/** JSON with bigints as hex strings, and control characters escaped. */
export function json(value: unknown, indent?: number): string {
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
