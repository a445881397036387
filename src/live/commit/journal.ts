/**
 * A migration's journal: what one side has decided, on disk before it is announced.
 *
 * It is JSON Lines. The first line says which migration and which side it is, and which process
 * holds the device; each further line is an entry. A last line that is cut was never finished, and
 * does not count.
 *
 * @module
 */

import * as fs from "node:fs";
import { join } from "node:path";
import { FieldError, Fields } from "../../checkpoint/metadata/json_fields.ts";
import { errnoOf } from "../../kernel/errno_names.ts";
import { writeAllSync } from "../../kernel/process/write_all.ts";
import { JournalError } from "./journal_error.ts";
import { isAlive, type ProcessId, thisProcess } from "./process_id.ts";

/** The side of a migration. */
export type Side = "source" | "destination";

/** What is entered: decisions and ends, of both sides; `run`, `drop` and `reset` from outside. */
export const ENTRIES = [
  "commit",
  "back",
  "done",
  "loaded",
  "starting",
  "running",
  "refused",
  "doubt",
  "run",
  "drop",
  "reset",
] as const;

/** An entry of a journal. */
export type Entry = typeof ENTRIES[number];

/** What a journal says. */
export interface JournalView {
  /** The migration: 32 hex digits. */
  readonly id: string;
  /** Whose journal it is. */
  readonly side: Side;
  /** The process that holds the device. */
  readonly process: ProcessId;
  /** The entries, oldest first. */
  readonly entries: readonly Entry[];
  /** Whether the process still exists; null if it is on another machine. */
  readonly alive: boolean | null;
}

/** A journal is short; what is longer is something else. */
const MAX_BYTES = 64 << 10;

const ID = /^[0-9a-f]{32}$/;

/**
 * Returns the path of a side's journal.
 *
 * @throws {RangeError} If the id is not 32 hex digits.
 */
export function journalPath(folder: string, id: string, side: Side): string {
  if (!ID.test(id)) throw new RangeError(`"${id}" is no migration: its id is 32 hex digits`);
  return join(folder, `${id}.${side}.jsonl`);
}

/** The journal of this process. */
export class Journal implements Disposable {
  /** The migration: 32 hex digits. */
  readonly id: string;
  /** The file. */
  readonly path: string;
  readonly #fd: number;

  private constructor(id: string, path: string, fd: number) {
    this.id = id;
    this.path = path;
    this.#fd = fd;
  }

  /**
   * Creates the journal of this process, for one migration and one side.
   *
   * @throws {JournalError} If it exists (`exists`), or cannot be written (`unwritable`).
   */
  static create(folder: string, id: string, side: Side): Journal {
    const path = journalPath(folder, id, side);
    let fd: number;
    try {
      fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
      fd = fs.openSync(path, "ax", 0o600);
    } catch (error) {
      if (errnoOf(error) === "EEXIST") {
        throw new JournalError("exists", path, "this migration has one already", error);
      }
      throw new JournalError("unwritable", path, (error as Error).message, error);
    }
    const journal = new Journal(id, path, fd);
    try {
      const head = { vfiokit: "migration-journal", version: 1, id, side, ...thisProcess() };
      journal.#append(head);
      syncFolder(folder);
    } catch (error) {
      journal[Symbol.dispose]();
      throw error;
    }
    return journal;
  }

  /**
   * Adds an entry, and returns once it is on the disk.
   *
   * @throws {JournalError} If it cannot be written; whether it is there is then not known.
   */
  add(entry: Entry): void {
    this.#append({ time: new Date().toISOString(), entry });
  }

  /** Closes the file. */
  [Symbol.dispose](): void {
    fs.closeSync(this.#fd);
  }

  #append(line: object): void {
    try {
      writeAllSync(this.#fd, new TextEncoder().encode(`${JSON.stringify(line)}\n`));
      fs.fsyncSync(this.#fd);
    } catch (error) {
      throw new JournalError("unwritable", this.path, (error as Error).message, error);
    }
  }
}

/** Makes the name of a new file durable. */
function syncFolder(folder: string): void {
  const fd = fs.openSync(folder, "r");
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/**
 * Adds a decision to a journal of another process, which looks for it while it is in doubt.
 *
 * @throws {JournalError} If it cannot be written.
 */
export function addDecision(path: string, entry: "run" | "drop" | "reset"): void {
  let fd: number | null = null;
  try {
    fd = fs.openSync(path, fs.constants.O_WRONLY | fs.constants.O_APPEND);
    const line = JSON.stringify({ time: new Date().toISOString(), entry });
    // The line before may be cut: a process that was killed leaves half a line.
    const cut = fs.fstatSync(fd).size > 0 && !endsWithNewline(path);
    writeAllSync(fd, new TextEncoder().encode(`${cut ? "\n" : ""}${line}\n`));
    fs.fsyncSync(fd);
  } catch (error) {
    throw new JournalError("unwritable", path, (error as Error).message, error);
  } finally {
    if (fd !== null) fs.closeSync(fd);
  }
}

/**
 * Reads a journal, its own or a copy from another machine.
 *
 * @throws {JournalError} If there is none (`no-journal`), or it is something else (`bad-journal`).
 */
export function readJournal(path: string): JournalView {
  const text = readText(path);
  const lines = text.split("\n");
  // What follows the last newline was never finished.
  lines.pop();
  const bad = (number: number, why: string, cause?: unknown): never => {
    throw new JournalError("bad-journal", path, `line ${number}: ${why}`, cause);
  };
  const parse = <T>(index: number, read: (fields: Fields) => T): T => {
    try {
      return read(new Fields(JSON.parse(lines[index]!)));
    } catch (error) {
      if (!(error instanceof FieldError) && !(error instanceof SyntaxError)) throw error;
      return bad(index + 1, error.message, error);
    }
  };
  if (lines.length === 0) bad(1, "it is no journal of a migration");
  const head = parse(0, (fields) => {
    fields.word("vfiokit", ["migration-journal"]);
    const version = fields.count("version");
    if (version !== 1) bad(1, `version ${version} is not known here`);
    const id = fields.text("id", 32);
    if (!ID.test(id)) bad(1, "id is not 32 hex digits");
    return {
      id,
      side: fields.word("side", ["source", "destination"] as const),
      process: {
        pid: fields.count("pid", 2 ** 31 - 1),
        started: fields.text("started", 32),
        boot: fields.text("boot", 64),
      },
    };
  });
  const entries: Entry[] = [];
  for (let index = 1; index < lines.length; index++) {
    // Half a line of a killed process, which a decision was added behind.
    if (isHalf(lines[index]!)) continue;
    entries.push(parse(index, (fields) => fields.word("entry", ENTRIES)));
  }
  return { ...head, entries, alive: isAlive(head.process) };
}

function readText(path: string): string {
  let fd: number | null = null;
  try {
    fd = fs.openSync(path, "r");
    const bytes = new Uint8Array(MAX_BYTES + 1);
    let length = 0;
    for (let read = -1; read !== 0 && length < bytes.length; length += read) {
      read = fs.readSync(fd, bytes, length, bytes.length - length, null);
    }
    if (length > MAX_BYTES) throw new JournalError("bad-journal", path, "it is too long for one");
    return new TextDecoder().decode(bytes.subarray(0, length));
  } catch (error) {
    if (error instanceof JournalError) throw error;
    const none = errnoOf(error) === "ENOENT";
    throw new JournalError(
      none ? "no-journal" : "bad-journal",
      path,
      none ? "there is none" : (error as Error).message,
      error,
    );
  } finally {
    if (fd !== null) fs.closeSync(fd);
  }
}

function isHalf(line: string): boolean {
  return line.startsWith("{") && !line.endsWith("}");
}

function endsWithNewline(path: string): boolean {
  const text = readText(path);
  return text.endsWith("\n");
}

/** The id of a new migration. */
export function newMigrationId(): string {
  return crypto.randomUUID().replaceAll("-", "");
}
