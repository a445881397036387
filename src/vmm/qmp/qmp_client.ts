/**
 * A client of QEMU's monitor: QMP, a JSON document a line, over a Unix socket.
 *
 * @module
 */

import { setTimeout as sleep } from "node:timers/promises";
import { registerErrorClass } from "../../base/error_transfer.ts";
import { printable } from "../../base/printable.ts";
import { VfiokitError } from "../../base/vfiokit_error.ts";
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

/** The longest line that is taken from a monitor, in bytes. */
const MOST_LINE = 1 << 20;

/** How long to wait before the socket is looked at again, in milliseconds. */
const LOOK_MS = 2;

type Answer = Readonly<Record<string, unknown>>;

/**
 * A connection to a monitor. QEMU serves one client at a time: another one waits until this one is
 * closed.
 */
export class QmpClient implements Disposable {
  readonly #socket: UnixSocket;
  readonly #path: string;
  readonly #timeoutMs: number;
  readonly #buffer = new Uint8Array(new ArrayBuffer(64 << 10));
  readonly #decoder = new TextDecoder();
  #text = "";

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
      const greeting = await client.#answer("its greeting");
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
    await this.#send(`${JSON.stringify({ execute: command })}\n`);
    for (;;) {
      const answer = await this.#answer(command);
      if ("return" in answer) return answer["return"];
      if ("event" in answer) continue;
      const { desc } = (answer["error"] ?? {}) as { desc?: unknown };
      if (typeof desc !== "string") throw this.#noQmp();
      throw new QmpError("refused", `The monitor "${this.#path}" refuses ${command}: ${desc}`);
    }
  }

  /** Whether the machine's processors run; the other word is QEMU's, such as `paused`. */
  async status(): Promise<{ readonly running: boolean; readonly status: string }> {
    const { running, status } = (await this.execute("query-status") ?? {}) as Answer;
    if (typeof running !== "boolean" || typeof status !== "string") throw this.#noQmp();
    return { running, status };
  }

  async #send(text: string): Promise<void> {
    let bytes: Uint8Array = new TextEncoder().encode(text);
    for (const limit = this.#limit(); bytes.length > 0;) {
      const sent = this.#call(() => this.#socket.send(bytes));
      bytes = bytes.subarray(sent);
      if (sent === 0) await this.#wait(limit, "a command");
    }
  }

  /** The next document. */
  async #answer(to: string): Promise<Answer> {
    const limit = this.#limit();
    for (;;) {
      const end = this.#text.indexOf("\n");
      if (end >= 0) {
        const line = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 1);
        if (line.trim() !== "") return this.#parse(line);
        continue;
      }
      if (this.#text.length > MOST_LINE) throw this.#noQmp();
      const count = this.#call(() => this.#socket.receive(this.#buffer));
      if (count === 0) {
        throw new QmpError("closed", `The monitor "${this.#path}" has closed the connection`);
      }
      if (count === null) await this.#wait(limit, to);
      else {
        this.#text += this.#decoder.decode(this.#buffer.subarray(0, count), { stream: true });
      }
    }
  }

  #parse(line: string): Answer {
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      throw this.#noQmp();
    }
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      return value as Answer;
    }
    throw this.#noQmp();
  }

  #limit(): number {
    return performance.now() + this.#timeoutMs;
  }

  async #wait(limit: number, what: string): Promise<void> {
    if (performance.now() > limit) {
      throw new QmpError(
        "timeout",
        `The monitor "${this.#path}" does not answer (${what}): another program may be connected ` +
          "to it",
      );
    }
    await sleep(LOOK_MS);
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
