/**
 * Migrations between two processes, either of which is killed at a random step. The devices are
 * served by this process, so that they outlive both.
 */

import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as net from "node:net";
import * as os from "node:os";
import { join } from "node:path";
import {
  addDecision,
  journalPath,
  type JournalView,
  readJournal,
  type Side,
} from "../../../src/live/commit/journal.ts";
import { type Resolution, resolve } from "../../../src/live/commit/resolve.ts";
import { JournalError } from "../../../src/live/mod.ts";
import { libcKernel } from "../../../src/kernel/mod.ts";
import { isErrno } from "../../../src/kernel/sys_error.ts";
import { type Device, openDevice } from "../../../src/migration/device.ts";
import { stopAndCopy } from "../../../src/migration/phases/stop_and_copy.ts";
import { Server } from "../../../src/server/mod.ts";
import { Trace } from "../../../src/trace/mod.ts";
import { DMA_LOGGING_STOP, triggerFeature } from "../../../src/vfio/device/feature.ts";
import { DmaMemory, openVfioDevice, parseDeviceName } from "../../../src/vfio/mod.ts";
import { VfioUserKernel } from "../../../src/vfio_user/mod.ts";
import { Random } from "../../fuzz/_random.ts";
import { Referee } from "./_referee.ts";
import { SideProcess, type SideTask } from "./_sides.ts";

const IOVA = 1n << 20n;
const SIZE = 16 * 4096;
const SIDES = ["source", "destination"] as const;

/** The steps at which each side kills itself; null for never. */
export type Kills = Readonly<Record<Side, number | null>>;

/** How a run ended: where the state is now. */
export type End = "source" | "destination" | "lost and said";

/** What a run came to. */
export interface RunResult {
  readonly end: End;
  /** The steps of each side; null if it did not come to its end. */
  readonly steps: Readonly<Record<Side, number | null>>;
  /** Which sides were killed. */
  readonly killed: readonly Side[];
}

/** A device that is served here, with memory that outlives its users. */
interface Served {
  readonly channel: number;
  readonly memory: DmaMemory;
}

/** Two devices that are served, and processes to move one into the other. */
export class KillRuns implements AsyncDisposable {
  readonly #folder: string;
  readonly #opened: AsyncDisposableStack;
  readonly #served: Readonly<Record<Side, Served>>;
  readonly #referee: Referee;
  readonly #tracker: boolean;
  #spare: readonly [SideProcess, SideProcess] | null = null;
  #runs = 0;

  private constructor(
    folder: string,
    opened: AsyncDisposableStack,
    served: Readonly<Record<Side, Served>>,
    referee: Referee,
    tracker: boolean,
  ) {
    this.#folder = folder;
    this.#opened = opened;
    this.#served = served;
    this.#referee = referee;
    this.#tracker = tracker;
  }

  /** Serves two devices of a personality. */
  static async start(personality: "mlx5" | "trapped"): Promise<KillRuns> {
    await using opened = new AsyncDisposableStack();
    const folder = fs.mkdtempSync(join(os.tmpdir(), "vfiokit-kill-"));
    opened.defer(() => fs.rmSync(folder, { recursive: true }));
    const trace = opened.use(Trace.create(join(folder, "trace")));
    const serve = async (spec: string): Promise<Served> => {
      const { server, channel } = await Server.lend(`sim:${personality}?size=8KiB&${spec}`, {
        trace,
      });
      opened.defer(() => libcKernel().close(channel));
      opened.use(server);
      return { channel, memory: opened.use(DmaMemory.allocate(libcKernel(), SIZE)) };
    };
    // The source's device writes to its memory all the while.
    const source = await serve("seed=5&dma=random:2000/s");
    const destination = await serve("seed=6");
    const referee = new Referee(trace.path);
    const served = { source, destination };
    return new KillRuns(folder, opened.move(), served, referee, personality === "mlx5");
  }

  #fds(): number[] {
    return SIDES.flatMap((side) => {
      const { channel, memory } = this.#served[side];
      return [channel, memory.fd!.number];
    });
  }

  #pair(): readonly [SideProcess, SideProcess] {
    return [new SideProcess(this.#fds()), new SideProcess(this.#fds())];
  }

  /**
   * Migrates once, resolves what is in doubt, and sees that one device has it all, or that the loss
   * is said. The processes of the next run are started meanwhile.
   */
  async run(kills: Kills, seed: number): Promise<RunResult> {
    const [source, destination] = this.#spare ?? this.#pair();
    this.#spare = this.#pair();
    const sides = { source, destination };
    const folder = join(this.#folder, String(this.#runs++));
    fs.mkdirSync(folder);
    try {
      this.#fill(seed);
      const task = (side: Side): SideTask => ({
        side,
        socket: join(folder, "socket"),
        journal: join(folder, "journal"),
        range: { iova: String(IOVA), size: String(SIZE) },
        fds: { source: { channel: 3, memory: 4 }, destination: { channel: 5, memory: 6 } },
        killAt: kills[side],
        tracker: this.#tracker,
        timeoutMs: 60_000,
      });
      await destination.begin(task("destination"));
      await source.begin(task("source"));
      const said = await this.#ended(sides, folder);
      const result = {
        end: await this.#judge(sides, said),
        steps: { source: source.steps, destination: destination.steps },
        killed: SIDES.filter((side) => sides[side].killedItself),
      };
      this.#reset();
      return result;
    } finally {
      await Promise.all(SIDES.map((side) => sides[side].kill()));
    }
  }

  #fill(seed: number): void {
    const random = new Random(seed);
    const bytes = new Uint8Array(SIZE);
    new Uint32Array(bytes.buffer).forEach((_, at, words) => words[at] = random.u32());
    // A page of zeros, too.
    bytes.fill(0, 4096, 8192);
    this.#served.source.memory.mapping.write(0, bytes);
    this.#served.destination.memory.mapping.write(0, new Uint8Array(SIZE).fill(0xee));
  }

  /** Waits until both sides have ended; decides whenever neither goes on by itself. */
  async #ended(
    sides: Readonly<Record<Side, SideProcess>>,
    folder: string,
  ): Promise<Resolution | null> {
    let knocked = false;
    for (;;) {
      const changed = Promise.race(SIDES.map((side) => sides[side].changed));
      const states = SIDES.map((side) => sides[side].state);
      this.#noneBoth();
      if (states.every((state) => state === "ended")) return this.#verdict(sides, folder);
      if (sides.source.state === "ended" && !knocked) {
        // The source may have been killed before it connected: then the destination hears this end.
        knocked = true;
        await knock(join(folder, "socket"));
        continue;
      }
      if (states.every((state) => state === "ended" || state === "in-doubt")) {
        let verdict = this.#verdict(sides, folder);
        // The operator looks at the destination's device, and insists if it does not run.
        if (verdict?.kind === "choose" && !this.#referee.destination.running) {
          verdict = this.#verdict(sides, folder, true);
        }
        if (verdict?.kind !== "decided") {
          // The one that waits is given up.
          for (const side of SIDES) await sides[side].kill();
          return verdict;
        }
        for (const side of SIDES) {
          const order = verdict[side];
          if (order === null) continue;
          addDecision(this.#journal(sides, folder, side), order);
          sides[side].decided();
        }
        // A side that gets no order waits for the other's next entry.
        continue;
      }
      await changed;
    }
  }

  #journal(sides: Readonly<Record<Side, SideProcess>>, folder: string, side: Side): string {
    const id = sides.source.id ?? sides.destination.id!;
    return journalPath(join(folder, "journal"), id, side);
  }

  /** What the journals say; null if there is not one of each side. */
  #verdict(
    sides: Readonly<Record<Side, SideProcess>>,
    folder: string,
    insistOnSource = false,
  ): Resolution | null {
    if (sides.source.id === null && sides.destination.id === null) return null;
    const read = (side: Side): JournalView => readJournal(this.#journal(sides, folder, side));
    try {
      return resolve(read("source"), read("destination"), { insistOnSource });
    } catch (error) {
      if (error instanceof JournalError) return null;
      throw error;
    }
  }

  #noneBoth(): void {
    this.#referee.look();
    assert.equal(this.#referee.bothAt, null, "both devices run");
  }

  async #judge(
    sides: Readonly<Record<Side, SideProcess>>,
    verdict: Resolution | null,
  ): Promise<End> {
    this.#noneBoth();
    const { source, destination } = this.#referee;
    if (destination.running) {
      assert.equal(source.running, false);
      await this.#assertEqual();
      return "destination";
    }
    const why = JSON.stringify(verdict);
    // Unless it was killed, the source has brought its device back; or it was killed after that.
    if (
      sides.source.failure !== null || (verdict?.kind === "settled" && verdict.where === "source")
    ) {
      assert.equal(source.running, true, `it is not back: ${sides.source.failure}, ${why}`);
      return "source";
    }
    assert.equal(sides.source.steps, null, "the source is done, and the destination does not run");
    // Without a journal of the destination nothing had been given to it.
    if (verdict === null) assert.equal(destination.loaded, false, why);
    else assert.ok(["lost", "choose"].includes(verdict.kind), why);
    return "lost and said";
  }

  /** Compares memory and device state, bit by bit. */
  async #assertEqual(): Promise<void> {
    const [ours, theirs] = SIDES.map((side) => {
      const bytes = new Uint8Array(SIZE);
      this.#served[side].memory.mapping.read(0, bytes);
      return bytes;
    });
    const different = ours!.findIndex((byte, at) => byte !== theirs![at]);
    assert.equal(different, -1, "the memory differs");
    // This stops the destination's, so that the source's may run.
    const moved = await this.#state("destination");
    assert.deepEqual(moved, await this.#state("source"), "the devices differ");
    assert.ok(moved.length > 4096);
  }

  async #state(side: Side): Promise<Uint8Array> {
    await using device = await this.#open(side);
    // A v1 device is read out of RUNNING alone.
    if (device.description.protocol === "v1") await device.setState("running");
    const parts: Uint8Array[] = [];
    for await (const { data } of stopAndCopy(device)) parts.push(data.slice());
    const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const part of parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }

  #open(side: Side): Promise<Device> {
    const { channel } = this.#served[side];
    const kernel = new VfioUserKernel(`fd:${channel}`, { channel });
    return openDevice(`vfio-user:${kernel.path}`, { kernel });
  }

  /** Makes both devices as they were: the destination's first, which may run. */
  #reset(): void {
    for (const side of ["destination", "source"] as const) {
      const { channel } = this.#served[side];
      const kernel = new VfioUserKernel(`fd:${channel}`, { channel });
      using device = openVfioDevice(kernel, parseDeviceName(`vfio-user:${kernel.path}`));
      try {
        // As the last close of a device's fd does, which is never closed here.
        triggerFeature(device, DMA_LOGGING_STOP);
      } catch (error) {
        if (!isErrno(error, "EINVAL", "ENOTTY")) throw error;
      }
      device.reset();
    }
    this.#noneBoth();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const side of this.#spare ?? []) await side.kill();
    await this.#opened.disposeAsync();
  }
}

/** Connects, if somebody listens, and ends the connection. */
async function knock(path: string): Promise<void> {
  const socket = net.connect(path);
  await new Promise<void>((resolve) => {
    socket.once("connect", () => socket.end(resolve));
    socket.once("error", () => resolve());
  });
  socket.destroy();
}

/** Migrates with the kills that come of a seed; an error says which those were. */
export async function runSeed(
  runs: KillRuns,
  seed: number,
  steps: Readonly<Record<Side, number>>,
): Promise<RunResult> {
  const kills = randomKills(new Random(seed), steps);
  try {
    return await runs.run(kills, seed);
  } catch (error) {
    const what = `seed ${seed}, killed at ${JSON.stringify(kills)}`;
    throw new Error(`${what}: ${(error as Error).message}`, { cause: error });
  }
}

/** The steps at which to kill, out of the steps that each side takes. */
function randomKills(random: Random, steps: Readonly<Record<Side, number>>): Kills {
  const which = random.below(3);
  const at = (side: Side, chosen: boolean): number | null => {
    if (!chosen) return null;
    const all = steps[side];
    // The commit takes a few steps at the end: half of the kills are there.
    return random.chance(0.5) ? random.below(all) : Math.max(0, all - 1 - random.below(16));
  };
  return {
    source: at("source", which !== 1),
    destination: at("destination", which !== 0),
  };
}
