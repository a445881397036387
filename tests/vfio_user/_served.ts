/** Simulated devices behind sockets. */

import * as fs from "node:fs";
import * as path from "node:path";
import { Server } from "../../src/server/mod.ts";

/** A folder of sockets; its servers end, and the folder is removed, at the end of a block. */
export class Served implements AsyncDisposable {
  readonly #folder = fs.mkdtempSync("/tmp/vfiokit-served-");
  readonly #servers: Server[] = [];

  /** A file's path in the folder. */
  file(name: string): string {
    return path.join(this.#folder, name);
  }

  /** Serves a simulated device; returns the name to open it by. */
  async serve(device: string): Promise<string> {
    const socket = this.file(`${this.#servers.length}.sock`);
    this.#servers.push(await Server.listen(device, socket));
    return `vfio-user:${socket}`;
  }

  /** Ends the latest server. */
  async end(): Promise<void> {
    const server = this.#servers.pop()!;
    await server.stop();
    await server.ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    while (this.#servers.length > 0) await this.end();
    fs.rmSync(this.#folder, { recursive: true });
  }
}
