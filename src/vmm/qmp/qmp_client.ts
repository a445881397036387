/**
 * A client of QEMU's monitor: QMP, a JSON document a line, over a Unix socket.
 *
 * @module
 */

import { setTimeout as sleep } from "node:timers/promises";
import { registerErrorClass } from "../../base/error_transfer.ts";
import { printable } from "../../base/printable.ts";
import { VfiokitError } from "../../base/vfiokit_error.ts";
import { NoQmp, type QmpDocument, QmpDocuments } from "./qmp_documents.ts";
import { UnixSocket } from "../../kernel/libc/unix_socket.ts";

/** What went wrong with a monitor, as a code. */
export type QmpErrorCode =
  /** Nobody listens there, or it may not be connected to. */
  | "connect"
  /** It has closed the connection. */
  | "closed"
  /** It does not answer in time. */
  | "timeout"
  /** What it says is no QMP. */
  | "protocol"
  /** It refuses a command. */
  | "refused";

/**
 * A monitor that does not do what it was asked to.
 *
 * @example
 * ```ts
 * import { QmpError } from "vfiokit/vmm";
 * import assert from "node:assert/strict";
 *
 * assert.equal(new QmpError("timeout", "The monitor does not answer").code, "timeout");
 * ```
 */
export class QmpError extends VfiokitError {
  static {
    registerErrorClass(this);
  }

  /** Always `QmpError`. */
  override readonly name = "QmpError";
  /** What went wrong, as a code. */
  readonly code: QmpErrorCode;

  /** Makes the error. */
  constructor(code: QmpErrorCode, message: string, cause?: unknown) {
    super(printable(message), { cause });
    this.code = code;
  }
}

/** How to talk to a monitor. */
export interface QmpOptions {
  /** How long to wait for an answer, in milliseconds. Default: 60 s. */
  readonly timeoutMs?: number | undefined;
}

/** How long to wait before the socket is looked at again, in milliseconds. */
const LOOK_MS = 2;

/** The most that is repeated of what a monitor says, in UTF-16 code units. */
const MOST_SAID = 500;

/**
 * A connection to a monitor. QEMU serves one client at a time: another one waits until this one is
 * closed.
 */
export class QmpClient implements Disposable {
  readonly #socket: UnixSocket;
  readonly #path: string;
  readonly #timeoutMs: number;
  readonly #buffer = new Uint8Array(new ArrayBuffer(64 << 10));
  readonly #documents = new QmpDocuments();

  private constructor(socket: UnixSocket, path: string, timeoutMs: number) {
    this.#socket = socket;
    this.#path = path;
    this.#timeoutMs = timeoutMs;
  }

  /**
   * Connects, and agrees on the capabilities.
   *
   * @throws {QmpError} If that fails.
   */
  static async connect(path: string, { timeoutMs = 60_000 }: QmpOptions = {}): Promise<QmpClient> {
    let socket: UnixSocket;
    try {
      socket = UnixSocket.connect(path);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new QmpError("connect", `Cannot connect to the monitor "${path}": ${why}`, error);
    }
    const client = new QmpClient(socket, path, timeoutMs);
    try {
      const greeting = await client.#answer("its greeting", client.#limit());
      if (!("QMP" in greeting)) throw client.#noQmp();
      await client.execute("qmp_capabilities");
      return client;
    } catch (error) {
      client.close();
      throw error;
    }
  }

  /**
   * Executes a command without arguments, and gives what it returns.
   *
   * @throws {QmpError} If the monitor refuses it, or does not answer.
   */
  async execute(command: string): Promise<unknown> {
    // Events in between do not make it longer.
    const limit = this.#limit();
    await this.#send(`${JSON.stringify({ execute: command })}\n`, limit);
    for (;;) {
      const answer = await this.#answer(command, limit);
      if ("return" in answer) return answer["return"];
      if ("event" in answer) continue;
      const { desc } = (answer["error"] ?? {}) as { desc?: unknown };
      if (typeof desc !== "string") throw this.#noQmp();
      const said = desc.slice(0, MOST_SAID);
      throw new QmpError("refused", `The monitor "${this.#path}" refuses ${command}: ${said}`);
    }
  }

  /** Whether the machine's processors run; the other word is QEMU's, such as `paused`. */
  async status(): Promise<{ readonly running: boolean; readonly status: string }> {
    const { running, status } = (await this.execute("query-status") ?? {}) as QmpDocument;
    if (typeof running !== "boolean" || typeof status !== "string") throw this.#noQmp();
    return { running, status };
  }

  async #send(text: string, limit: number): Promise<void> {
    let bytes: Uint8Array = new TextEncoder().encode(text);
    while (bytes.length > 0) {
      const sent = this.#call(() => this.#socket.send(bytes));
      bytes = bytes.subarray(sent);
      if (sent === 0) await this.#wait(limit, "a command");
    }
  }

  /** The next document. */
  async #answer(to: string, limit: number): Promise<QmpDocument> {
    for (;;) {
      const document = this.#next();
      if (document !== null) {
        if (performance.now() > limit) throw this.#late(to);
        return document;
      }
      const count = this.#call(() => this.#socket.receive(this.#buffer));
      if (count === 0) {
        throw new QmpError("closed", `The monitor "${this.#path}" has closed the connection`);
      }
      if (count === null) await this.#wait(limit, to);
      else this.#documents.push(this.#buffer.subarray(0, count));
    }
  }

  #next(): QmpDocument | null {
    try {
      return this.#documents.next();
    } catch (error) {
      throw error instanceof NoQmp ? this.#noQmp() : error;
    }
  }

  #limit(): number {
    return performance.now() + this.#timeoutMs;
  }

  async #wait(limit: number, what: string): Promise<void> {
    if (performance.now() > limit) throw this.#late(what);
    await sleep(LOOK_MS);
  }

  #late(what: string): QmpError {
    return new QmpError(
      "timeout",
      `The monitor "${this.#path}" does not answer (${what}): another program may be connected ` +
        "to it",
    );
  }

  #call<T>(use: () => T): T {
    try {
      return use();
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new QmpError("closed", `The monitor "${this.#path}" is gone: ${why}`, error);
    }
  }

  #noQmp(): QmpError {
    return new QmpError("protocol", `What listens at "${this.#path}" speaks no QMP`);
  }

  /** Ends the connection. Closing again does nothing. */
  close(): void {
    this.#socket.close();
  }

  /** Ends the connection. */
  [Symbol.dispose](): void {
    this.close();
  }
}
