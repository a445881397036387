/** A monitor like QEMU's, for tests: one client at a time, answers that a test decides. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { UnixSocket } from "../../src/kernel/libc/unix_socket.ts";

/** What a monitor does about a command: what it returns, or the raw line that it sends. */
export type Answer = { readonly returns: unknown } | { readonly raw: string } | "close";

/** Options of a {@linkcode FakeMonitor}. */
export interface FakeMonitorOptions {
  /** Called for each command after the capabilities. */
  answer(command: string): Answer | Promise<Answer>;
  /** What it greets with; QEMU's greeting by default. */
  readonly greeting?: string;
  /** The answer to the capabilities; QEMU's by default. */
  readonly capabilities?: Answer;
}

/** The monitor. */
export class FakeMonitor implements AsyncDisposable {
  /** Where it listens. */
  readonly path: string;
  /** The commands that came, in order. */
  readonly commands: string[] = [];
  readonly #folder: string;
  readonly #served: Promise<void>;
  #open = true;

  constructor(options: FakeMonitorOptions) {
    this.#folder = mkdtempSync(`${tmpdir()}/vfiokit-`);
    this.path = `${this.#folder}/monitor`;
    this.#served = this.#serve(UnixSocket.listen(this.path, 4), options);
  }

  async #serve(listening: UnixSocket, options: FakeMonitorOptions): Promise<void> {
    while (this.#open) {
      const client = listening.accept();
      if (client === null) await sleep(1);
      else {
        await this.#talk(client, options);
        client.close();
      }
    }
    listening.close();
  }

  async #talk(client: UnixSocket, options: FakeMonitorOptions): Promise<void> {
    const say = async (line: string): Promise<void> => {
      let bytes: Uint8Array = new TextEncoder().encode(`${line}\n`);
      while (bytes.length > 0 && this.#open) {
        try {
          bytes = bytes.subarray(client.send(bytes));
        } catch {
          // The client has closed the connection.
          return;
        }
        if (bytes.length > 0) await sleep(1);
      }
    };
    await say(options.greeting ?? '{"QMP": {"version": {}, "capabilities": []}}');
    const buffer = new Uint8Array(4096);
    let text = "";
    while (this.#open) {
      const count = client.receive(buffer);
      if (count === 0) return;
      if (count === null) {
        await sleep(1);
        continue;
      }
      text += new TextDecoder().decode(buffer.subarray(0, count));
      for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
        const { execute } = JSON.parse(text.slice(0, end));
        text = text.slice(end + 1);
        const first = execute === "qmp_capabilities";
        if (!first) this.commands.push(execute);
        const answer = first
          ? options.capabilities ?? { returns: {} }
          : await options.answer(execute);
        if (answer === "close") return;
        await say("raw" in answer ? answer.raw : JSON.stringify({ return: answer.returns }));
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#open = false;
    await this.#served;
    rmSync(this.#folder, { recursive: true });
  }
}
