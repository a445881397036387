/**
 * The other side of a migration that says what it likes: the messages and the stream of a good one,
 * with fields, bytes and lengths changed, and parts left out, repeated and moved.
 */

import { Buffer } from "node:buffer";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { type Connection, LiveError, migrate, receive } from "../../src/live/mod.ts";
import { openDevices } from "../../src/migration/open_devices.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { TransferError } from "../../src/transfer/transfer_error.ts";
import { joined } from "../_joined.ts";
import { type Content, contentOf, MAPS } from "../live/chain/_chain.ts";
import { migrateTo, openSim, socketPair } from "../live/_pair.ts";
import { checkClosed } from "./_bench.ts";
import { type Change, change, makeChange } from "./_byte_changes.ts";
import { checkError, describe } from "./_errors.ts";
import { Find, type Kind, without } from "./_kind.ts";
import type { Random } from "./_random.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** What is done to what a side says; a part is any number, and stands for one of those that there are. */
type Damage =
  | { readonly do: "bytes"; readonly part: number; readonly change: Change }
  | { readonly do: "field"; readonly part: number; readonly key: string; readonly value: unknown }
  | { readonly do: "length"; readonly part: number; readonly length: number }
  | { readonly do: "say"; readonly part: number; readonly message: unknown }
  | { readonly do: "drop" | "repeat" | "swap"; readonly part: number };

/** A hostile side. */
interface PeerPlan {
  /** Which of the two it is. */
  readonly side: "source" | "destination";
  readonly damages: readonly Damage[];
  /** At most so many bytes come at once. */
  readonly piece: number;
}

const SPEC = "mlx5?size=4KiB";
const HEAD_SIZE = 8;
/** Memory that is mapped without a second thought, in bytes. */
const MOST_MEMORY = 64n << 20n;

/** What both sides of a good migration say, part by part, and what is moved. */
interface Said {
  readonly source: readonly Bytes[];
  readonly destination: readonly Bytes[];
  readonly truth: Content;
}

let said: Promise<Said> | null = null;

/** Lists what goes through a connection. */
function recorded(connection: Connection, into: Bytes[]): Connection {
  return {
    name: connection.name,
    read: (room) => connection.read(room),
    write(bytes): Promise<void> {
      into.push(new Uint8Array(bytes));
      return connection.write(bytes);
    },
    close: () => connection.close(),
  };
}

/** Moves a device, and keeps what both sides say. */
async function record(): Promise<Said> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "vfiokit-fuzz-peer-"));
  try {
    const [source, destination]: [Bytes[], Bytes[]] = [[], []];
    const { device } = await openSim(`${SPEC}&seed=5`, MAPS);
    await using _ = device;
    for (const { iova, size } of MAPS) {
      await device.writeMemory(iova, new Uint8Array(Number(size / 2n)).fill(9));
    }
    const target = new SimKernel(`sim:${SPEC}`);
    const outcome = await migrateTo(folder, [device], target, {
      source: { downtimeMs: 60_000 },
      ends: async (folder) => {
        const [ours, theirs] = await socketPair(folder);
        return [recorded(ours, source), recorded(theirs, destination)];
      },
    });
    if (outcome.destination.status === "rejected") throw outcome.destination.reason;
    await using devices = outcome.destination.value.devices;
    const truth = await contentOf(devices[0]!, target);
    // The stream is one part; each message is one.
    const stream = joined(...source.slice(1, -1));
    return { source: [source[0]!, stream, source.at(-1)!], destination, truth };
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

function message(value: unknown, length?: number): Bytes {
  const json = new TextEncoder().encode(JSON.stringify(value));
  const head = new Uint8Array(HEAD_SIZE);
  head.set(new TextEncoder().encode("VFKM"));
  new DataView(head.buffer).setUint32(4, length ?? json.length, true);
  return joined(head, json);
}

const isMessage = (bytes: Bytes): boolean =>
  new TextDecoder().decode(bytes.subarray(0, 4)) === "VFKM";

function fieldsOf(bytes: Bytes): Record<string, unknown> | null {
  try {
    const value = JSON.parse(new TextDecoder().decode(bytes.subarray(HEAD_SIZE)));
    return isMessage(bytes) && typeof value === "object" ? value : null;
  } catch {
    return null;
  }
}

function damage(parts: Bytes[], one: Damage): void {
  if (parts.length === 0) return;
  const at = one.part % parts.length;
  const part = parts[at]!;
  switch (one.do) {
    case "bytes":
      parts[at] = change(part, one.change);
      return;
    case "field": {
      const fields = fieldsOf(part);
      if (fields !== null) parts[at] = message({ ...fields, [one.key]: one.value });
      return;
    }
    case "length":
      if (isMessage(part)) parts[at] = message(fieldsOf(part), one.length);
      return;
    case "say":
      parts.splice(at, 0, message(one.message));
      return;
    case "drop":
      parts.splice(at, 1);
      return;
    case "repeat":
      parts.splice(at, 0, part);
      return;
    case "swap":
      parts.push(...parts.splice(at, 1));
  }
}

const TYPES = ["hello", "ready", "loaded", "commit", "running", "abort", "refused", "frame"];
const KEYS = ["type", "version", "id", "memory", "compress", "reason"];
const RANGES = [
  ...["0x0", "0x1000", "0x100000", "0x40000", "0x7ffffffffffff000", "0xfffffffffffff000", "0x800"],
] as const;

function makeValue(random: Random): unknown {
  const range = (): unknown => ({ iova: random.pick(RANGES), size: random.pick(RANGES) });
  return random.pick<() => unknown>([
    () => random.pick(TYPES),
    () => random.pick([null, true, 0, 1, 2, 3, -1, 2 ** 53, "", "\u001b[2J", "zstd", [], {}]),
    () => "0123456789abcdef".repeat(2),
    () => "x".repeat(random.pick([33, 300, 3000, 60_000])),
    () => [{ ranges: Array.from({ length: random.pick([0, 1, 2, 513]) }, range) }],
    () => Array.from({ length: random.pick([0, 2, 64, 65]) }, () => ({ ranges: [] })),
  ])();
}

function makeDamage(random: Random): Damage {
  const part = random.below(3);
  const key = random.pick(KEYS);
  return random.pick<() => Damage>([
    () => ({ do: "bytes", part, change: makeChange(random) }),
    () => ({ do: "field", part: random.pick([0, 0, 2]), key, value: makeValue(random) }),
    () => ({ do: "length", part: random.pick([0, 2]), length: random.edge() }),
    () => ({ do: "say", part, message: { type: random.pick(TYPES), reason: makeValue(random) } }),
    () => ({ do: random.pick(["drop", "repeat", "swap"]), part }),
  ])();
}

/** A connection to a side that says these parts, and then nothing more. */
class Hostile implements Connection {
  readonly name = "the hostile side";
  readonly #piece: number;
  #parts: Bytes[];
  #closed = false;
  readonly #more = Promise.withResolvers<void>();

  /** Says the first part at once, and the others once it is let go. */
  constructor(parts: readonly Bytes[], piece: number) {
    this.#parts = [...parts.slice(0, 1), new Uint8Array(0), ...parts.slice(1)];
    this.#piece = piece;
  }

  letGo(): void {
    this.#more.resolve();
  }

  async read(into: Uint8Array): Promise<number> {
    for (;;) {
      const [first] = this.#parts;
      if (first === undefined || this.#closed) return 0;
      if (first.length === 0) {
        this.#parts.shift();
        await this.#more.promise;
        continue;
      }
      const taken = first.subarray(0, Math.min(into.length, this.#piece));
      into.set(taken);
      this.#parts[0] = first.subarray(taken.length);
      if (taken.length === first.length) this.#parts.shift();
      return taken.length;
    }
  }

  write(): Promise<void> {
    return this.#closed ? Promise.reject(new LiveError("connection-lost", "it is closed")) : DONE;
  }

  close(): void {
    this.#closed = true;
    this.#more.resolve();
  }
}

const DONE = Promise.resolve();

/** Ends a side that waits in doubt. */
class Doubt {
  readonly #ending = new AbortController();
  readonly signal: AbortSignal = this.#ending.signal;
  came = false;

  look(phase: string): void {
    if (phase !== "in-doubt") return;
    this.came = true;
    this.#ending.abort(new Error("an end of the doubt"));
  }
}

/** Has a destination take what a hostile source says. */
async function attackDestination(
  connection: Hostile,
  folder: string,
  truth: Content,
): Promise<void> {
  const kernel = new SimKernel(`sim:${SPEC}`);
  const simulated = kernel.devices[0]!;
  const doubt = new Doubt();
  const tooMuch = new RangeError("more memory than the fuzzer has");
  try {
    const { devices } = await receive(connection, (memory) => {
      const sizes = memory.flat().map(({ size }) => size);
      if (sizes.reduce((sum, size) => sum + size, 0n) > MOST_MEMORY) throw tooMuch;
      return openDevices(kernel.devices.map(({ path }) => path), { kernel, maps: memory[0] ?? [] });
    }, { journal: folder, signal: doubt.signal, onProgress: ({ phase }) => doubt.look(phase) });
    await using _ = devices;
    const content = await contentOf(devices[0]!, kernel);
    const same = simulated.running && content.checksum === truth.checksum &&
      content.memory.every((bytes, index) => Buffer.compare(bytes, truth.memory[index]!) === 0);
    if (!same) throw new Find("accepted", "it runs, and is not what was sent");
  } catch (error) {
    checkError(error, [LiveError, tooMuch, doubt.signal.reason], "receiving");
    if (!doubt.came && error instanceof TransferError) {
      const states = error.devices.map(({ state }) => state);
      if (states.some((state) => state !== "running")) {
        throw new Find("told state", `it was not reset: ${describe(error)}`);
      }
    }
  }
  checkSimulated(kernel);
}

/** Has a source listen to what a hostile destination says. */
async function attackSource(connection: Hostile, folder: string): Promise<void> {
  const { kernel, device } = await openSim(`${SPEC}&seed=5`, MAPS);
  const simulated = kernel.devices[0]!;
  const doubt = new Doubt();
  try {
    await using _ = device;
    try {
      await migrate([device], connection, {
        journal: folder,
        signal: doubt.signal,
        ...{ downtimeMs: 60_000, ownerWrites: "none" },
        onProgress: ({ phase }) => {
          if (phase === "committing") connection.letGo();
          doubt.look(phase);
        },
      });
      if (simulated.running) throw new Find("told state", "it was moved, and runs here");
    } catch (error) {
      checkError(error, [LiveError, doubt.signal.reason], "migrating");
      if (simulated.running === doubt.came) {
        throw new Find("told state", `running is ${simulated.running}: ${describe(error)}`);
      }
    }
  } finally {
    connection.close();
  }
  checkSimulated(kernel);
}

function checkSimulated(kernel: SimKernel): void {
  const { violations } = kernel.devices[0]!;
  if (violations.length > 0) throw new Find("violation", violations.join("; "));
  checkClosed(kernel);
}

/** The attack by the other side of a migration. */
export const peer: Kind<PeerPlan> = {
  name: "peer",
  make: (random): PeerPlan => ({
    side: random.chance(0.7) ? "source" : "destination",
    damages: Array.from({ length: random.few(0, 4) }, () => makeDamage(random)),
    piece: random.pick([2 ** 20, 4096, random.few(1, 5000)]),
  }),
  *smaller(plan): Generator<PeerPlan> {
    for (const damages of without(plan.damages)) yield { ...plan, damages };
  },
  async run({ side, damages, piece }, folder): Promise<void> {
    said ??= record();
    const { truth, ...sides } = await said;
    const parts = [...sides[side]];
    for (const one of damages) damage(parts, one);
    const connection = new Hostile(parts, piece);
    // What a source waits for in vain must not hold back the rest.
    if (side === "source" || parts[0] !== sides[side][0]) connection.letGo();
    if (side === "source") await attackDestination(connection, folder, truth);
    else await attackSource(connection, folder);
  },
};
