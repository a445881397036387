/**
 * Two sides of a migration in one process: simulated devices, and a unix socket between them.
 */

import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as net from "node:net";
import * as os from "node:os";
import * as path from "node:path";
import {
  type Connection,
  connectUnix,
  migrate,
  type MigrateOptions,
  type MigrateReport,
  receive,
  type Received,
  type ReceiveOptions,
  streamConnection,
  UnixListener,
} from "../../src/live/mod.ts";
import {
  addDecision,
  type Entry,
  journalPath,
  readJournal,
  type Side,
} from "../../src/live/commit/journal.ts";
import { resolve } from "../../src/live/commit/resolve.ts";
import { WaitThread } from "../../src/live/connection/wait_thread.ts";
import { type Device, openDevice } from "../../src/migration/device.ts";
import { type OpenDevices, openDevices } from "../../src/migration/open_devices.ts";
import type { Kernel } from "../../src/kernel/kernel.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import type { RangeToMap } from "../../src/dirty/mod.ts";
import { Switchboard } from "./_switchboard.ts";

export const MIB = 1n << 20n;

// Not started anew for the connections of each test.
WaitThread.use();

/** A folder that is removed afterwards. */
export async function withFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "vfiokit-live-"));
  try {
    await use(folder);
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

let pairs = 0;

/** Both ends of a unix socket of the product's own. */
export async function socketPair(folder: string): Promise<[Connection, Connection]> {
  using listener = await UnixListener.listen(path.join(folder, `socket${pairs++}`));
  return [await connectUnix(listener.path), await listener.next()];
}

/** The same over streams, as TLS has them. */
export async function streamPair(folder: string): Promise<[Connection, Connection]> {
  const at = path.join(folder, `socket${pairs++}`);
  const server = net.createServer({ allowHalfOpen: true });
  const accepted = new Promise<net.Socket>((resolve) => server.once("connection", resolve));
  await new Promise<void>((resolve) => server.listen(at, resolve));
  const client = net.connect({ path: at, allowHalfOpen: true });
  const other = await accepted;
  server.close();
  return [
    streamConnection("the destination", client, client),
    streamConnection("the source", other, other),
  ];
}

/** A device on a simulated kernel of the test's, and its DMA. */
export interface SimSide {
  readonly kernel: SimKernel;
  readonly device: Device;
}

/** Opens a simulated device with memory and a tracker. */
export async function openSim(
  spec: string,
  maps: readonly RangeToMap[],
  tracker: "auto" | "none" = "auto",
  over: (kernel: SimKernel) => Kernel = (kernel) => kernel,
): Promise<SimSide> {
  const kernel = new SimKernel(`sim:${spec}`);
  const device = await openDevice(kernel.devices[0]!.path, {
    kernel: over(kernel),
    maps,
    ...(tracker === "none" ? {} : { tracker }),
  });
  return { kernel, device };
}

/** What became of each side. */
export interface Outcome {
  readonly source: PromiseSettledResult<MigrateReport>;
  readonly destination: PromiseSettledResult<Received>;
}

/** Migrates over a unix socket, into a device of another simulated kernel. */
export async function migrateTo(
  folder: string,
  source: readonly Device[],
  target: SimKernel,
  options: {
    readonly source?: Partial<MigrateOptions>;
    readonly destination?: Partial<ReceiveOptions>;
    /** Puts something between the destination and its kernel. */
    readonly over?: (kernel: SimKernel) => Kernel;
    /** Makes both ends of the connection, the source's first. */
    readonly ends?: (folder: string) => Promise<[Connection, Connection]>;
    /** How many streams are offered; the further ones are made like the first. */
    readonly streams?: number;
  } = {},
): Promise<Outcome> {
  const { ends = socketPair, over = (kernel) => kernel, streams: count = 1 } = options;
  const [ours, theirs] = await ends(folder);
  const further = new Switchboard(() => ends(folder));
  const journal = path.join(folder, "journal");
  const receiving = receive(
    theirs,
    (memory): Promise<OpenDevices> =>
      openDevices(target.devices.slice(0, memory.length).map((device) => device.path), {
        kernel: over(target),
        maps: memory[0],
      }),
    { journal, connections: further, ...options.destination },
  );
  const [one, other] = await Promise.allSettled([
    migrate(source, ours, {
      journal,
      streams: { count, connect: further.connect },
      ...options.source,
    }),
    receiving,
  ]);
  return { source: one, destination: other };
}

/** The entries of a side's journal. */
export function entriesOf(folder: string, id: string, side: Side): readonly Entry[] {
  return readJournal(journalPath(path.join(folder, "journal"), id, side)).entries;
}

/** Resolves a migration from both journals, as an operator does. */
export function resolveDoubt(folder: string, id: string): void {
  const at = (side: Side): string => journalPath(path.join(folder, "journal"), id, side);
  const verdict = resolve(readJournal(at("source")), readJournal(at("destination")));
  if (verdict.kind !== "decided") return;
  for (const side of ["source", "destination"] as const) {
    if (verdict[side] !== null) addDecision(at(side), verdict[side]);
  }
}

/** The value of what must have succeeded. */
export function succeeded<Value>(result: PromiseSettledResult<Value>): Value {
  if (result.status === "rejected") throw result.reason;
  return result.value;
}

/** Compares the memory of two devices. */
export async function assertSameMemory(one: Device, other: Device): Promise<void> {
  for (const { iova, size } of one.description.mappings) {
    const [a, b] = [
      await one.readMemory(iova, Number(size)),
      await other.readMemory(iova, Number(size)),
    ];
    assert.equal(firstDifference(a, b), -1, `memory at 0x${iova.toString(16)} differs`);
  }
}

function firstDifference(a: Uint8Array, b: Uint8Array): number {
  return a.findIndex((byte, index) => byte !== b[index]);
}
