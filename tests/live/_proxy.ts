/**
 * A proxy between the two sides of a migration: a network that fails.
 */

import * as net from "node:net";
import { join } from "node:path";
import { type Connection, connectUnix } from "../../src/live/mod.ts";

/** What goes wrong, after so many bytes of one side. */
export interface NetworkFault {
  /**
   * `cut`: the connection breaks. `stall`: nothing more of this side arrives. `slow`: it takes
   * small parts, with a pause after each. `duplicate`: the destination is connected twice, and
   * hears the same on both. `alter`: a bit of the byte changes.
   */
  readonly kind: "none" | "cut" | "stall" | "slow" | "duplicate" | "alter";
  readonly side: "source" | "destination";
  readonly after: number;
}

const PART_BYTES = 8192;
const PAUSE_MS = 2;

/** A network between two sides. */
export class Proxy implements Disposable {
  /** Bytes of each side that came through. */
  readonly bytes = { source: 0, destination: 0 };
  readonly #fault: NetworkFault;
  readonly #sides: Connection[] = [];
  readonly #sockets: net.Socket[] = [];

  constructor(fault: NetworkFault) {
    this.#fault = fault;
  }

  /** Makes both ends of a connection through it, the source's first. */
  async connect(folder: string): Promise<[Connection, Connection]> {
    const { kind, after } = this.#fault;
    const source = await this.#link(join(folder, "source"));
    const destination = await this.#link(join(folder, "destination"));
    const copy = kind === "duplicate" ? await this.#link(join(folder, "copy")) : null;
    const copies = copy === null ? [] : [copy.proxy];
    void this.#pump("source", source.proxy, [destination.proxy, ...copies]);
    void this.#pump("destination", destination.proxy, [source.proxy]);
    // What is answered to the copy goes nowhere.
    for (const each of copies) each.resume();
    const taken = copy !== null && after % 2 === 0 ? copy : destination;
    return [
      source.side,
      taken.side,
    ];
  }

  /** A connected pair of sockets: one for a side, and one for the proxy. */
  async #link(path: string): Promise<{ readonly side: Connection; readonly proxy: net.Socket }> {
    const server = net.createServer({ allowHalfOpen: true });
    const accepted = new Promise<net.Socket>((resolve) => server.once("connection", resolve));
    await new Promise<void>((resolve) => server.listen(path, resolve));
    const side = await connectUnix(path);
    const proxy = await accepted;
    server.close();
    this.#sides.push(side);
    this.#sockets.push(proxy);
    proxy.on("error", () => {});
    return { side, proxy };
  }

  /** Passes on what a side sends, until the fault. */
  async #pump(
    side: "source" | "destination",
    from: net.Socket,
    to: readonly net.Socket[],
  ): Promise<void> {
    const { kind, side: failing, after } = this.#fault;
    const ends = side === failing && (kind === "cut" || kind === "stall");
    try {
      for await (const chunk of from as AsyncIterable<Uint8Array>) {
        if (kind === "alter" && side === failing) flip(chunk, after - this.bytes[side]);
        const room = ends ? after - this.bytes[side] : Infinity;
        for (const part of this.#parts(chunk.subarray(0, Math.min(chunk.length, room)))) {
          await Promise.all(to.map((each) => sent(each, part)));
          if (kind === "slow") await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
        }
        this.bytes[side] += chunk.length;
        if (chunk.length <= room) continue;
        if (kind === "cut") this.#cut();
        return;
      }
      for (const each of to) each.end();
    } catch {
      for (const each of to) each.destroy();
    }
  }

  #parts(chunk: Uint8Array): readonly Uint8Array[] {
    const size = this.#fault.kind === "slow" ? PART_BYTES : chunk.length;
    const parts: Uint8Array[] = [];
    for (let at = 0; at < chunk.length; at += size) parts.push(chunk.subarray(at, at + size));
    return parts;
  }

  #cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Breaks it, and ends what is left of both sides. */
  [Symbol.dispose](): void {
    this.#cut();
    for (const side of this.#sides) side.close();
  }
}

function flip(chunk: Uint8Array, at: number): void {
  if (at >= 0 && at < chunk.length) chunk[at]! ^= 1;
}

/** Resolves once a socket has taken bytes, or is gone. */
function sent(socket: net.Socket, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    if (socket.destroyed || socket.writableEnded) return resolve();
    socket.write(bytes, () => resolve());
  });
}
