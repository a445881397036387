/**
 * Checkpoints of a device and its memory, one after the other: a full one, then increments.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { cleanlyAsync } from "../../base/cleanup.ts";
import type { CheckpointFile } from "../../checkpoint/file/checkpoint_file.ts";
import { createCheckpointFile } from "../../checkpoint/file/create_checkpoint_file.ts";
import { whyFailed } from "../../checkpoint/file/file_error.ts";
import type { ChainLink } from "../../checkpoint/metadata/chain_link.ts";
import { newHeader } from "../../checkpoint/metadata/header.ts";
import type { ReadBackReport } from "../../checkpoint/read_back.ts";
import { DeviceClosedError } from "../../migration/closed_error.ts";
import { Device } from "../../migration/device.ts";
import {
  commit,
  type CommitResult,
  committedUnread,
  demandCommitted,
} from "../../transfer/commit.ts";
import { Lockstep } from "../../transfer/lockstep.ts";
import type { DeviceReport } from "../../transfer/report.ts";
import { runAgain } from "../../transfer/run_again.ts";
import { demandOwner, type OwnerOptions } from "../attach/owner.ts";
import { afterRound, type Round } from "../convergence.ts";
import { canMigrate, demandMigration } from "../demand_migration.ts";
import { FrameSender, type FrameSink, type SentBytes } from "../frame_sender.ts";
import { LiveCopy, type PageScans } from "../live_copy.ts";
import { StepTimes } from "../step_times.ts";
import { linkFile, linkNumbers, makeFolder } from "./link_files.ts";

const DEFAULT_DOWNTIME_MS = 300;
const DEFAULT_ROUNDS = 3;
const DEFAULT_FULL_EVERY = 16;

/** How to take checkpoints. */
export interface ChainOptions extends OwnerOptions {
  /**
   * So many of the last checkpoints can be restored at least; older ones are removed, a whole chain
   * at a time. By default none is.
   */
  readonly keep?: number | undefined;
  /** How many checkpoints a chain has before a full one begins the next. Default 16. */
  readonly fullEvery?: number | undefined;
  /**
   * Once sending what is left takes no longer than this, the devices are stopped, in milliseconds.
   * Default 300.
   */
  readonly downtimeMs?: number | undefined;
  /** The devices are stopped after this many rounds. Default 3. */
  readonly maxRounds?: number | undefined;
  /** Reads each file back before it appears, while the devices run. Default true. */
  readonly readBack?: boolean | undefined;
}

/** A part of the time for which the devices stood still. */
export interface StopStep {
  /** What was done. */
  readonly step: "quiesce" | "stop" | "memory" | "device data" | "run";
  /** How long it took. */
  readonly seconds: number;
}

/** How a checkpoint went. */
export interface LinkReport {
  /** Its number. */
  readonly number: number;
  /** Its file. */
  readonly file: string;
  /** Whether it holds all memory, or what changed since the one before it. */
  readonly kind: "full" | "increment";
  /** From its beginning until it was in its place, in seconds. */
  readonly seconds: number;
  /** How long the devices stood still, in seconds. */
  readonly stopSeconds: number;
  /** Where that time went. */
  readonly stop: readonly StopStep[];
  /** The rounds while the devices ran. */
  readonly rounds: readonly Round[];
  /** What was looked at and stored. */
  readonly bytes: Readonly<SentBytes>;
  /** Size of the file, in bytes. */
  readonly storedBytes: number;
  /** Whether the file was read back. */
  readonly readBack: ReadBackReport;
  /** The numbers of the checkpoints that were removed, as there are enough newer ones. */
  readonly removed: readonly number[];
  /** What the caller should know. */
  readonly warnings: readonly string[];
  /** The devices, which run. */
  readonly devices: readonly DeviceReport[];
}

/** A checkpoint that is being sent. */
interface Sending {
  readonly lockstep: Lockstep;
  readonly sender: FrameSender;
  readonly copy: LiveCopy;
  /** Where the time goes for which the devices stand still. */
  readonly stop: StepTimes<StopStep["step"]>;
}

/**
 * Takes checkpoints of devices and the memory that their DMA reaches into a folder, each a file that
 * appears whole or not at all: `000000.vfk`, `000001.vfk`, …. The first holds all memory, each later one what
 * changed since the one before. The devices run, except during the stop that a consistent state needs.
 *
 * The devices must have been opened with `maps`, and with a `tracker` if one can be had; nothing
 * else may read that tracker. Closing a chain stops the trackers, and leaves the devices open.
 *
 * @example
 * ```ts
 * import { CheckpointChain, restoreChain, verifyChain } from "vfiokit/live";
 * import { openDevice } from "vfiokit";
 * import * as fs from "node:fs";
 * import assert from "node:assert/strict";
 *
 * const folder = fs.mkdtempSync("/tmp/vfiokit-");
 * const maps = [{ iova: 0x100000n, size: 0x10000n }];
 * {
 *   await using device = await openDevice("sim:mlx5?size=64KiB", { maps, tracker: "auto" });
 *   await using chain = new CheckpointChain(device, folder, { keep: 2 });
 *   await chain.take();
 *   await device.writeMemory(0x101000n, new Uint8Array([7]));
 *   const { kind, number, bytes } = await chain.take();
 *   assert.deepEqual([kind, number, bytes.memory], ["increment", 1, 4096]);
 * }
 * const verified = await verifyChain(folder);
 * await using device = await openDevice("sim:mlx5?size=64KiB", {
 *   maps: verified.memory[0]!.ranges,
 * });
 * await restoreChain(device, verified);
 * assert.deepEqual([...await device.readMemory(0x101000n, 2)], [7, 0]);
 * fs.rmSync(folder, { recursive: true });
 * ```
 */
export class CheckpointChain implements AsyncDisposable {
  readonly #devices: readonly Device[];
  readonly #folder: string;
  readonly #options: ChainOptions;
  /** The last checkpoint, if the next one can build on it. */
  #last: ChainLink | null = null;
  #scans: PageScans = [];
  /** The numbers of the checkpoints that were taken, chain by chain. */
  readonly #taken: number[][] = [];
  #busy = false;

  /**
   * Makes the folder if need be, and the devices can migrate; checkpoints that are there stay.
   *
   * @throws {CheckpointFileError} If that fails.
   * @throws {TypeError} If the owner is to report what it writes, and cannot.
   * @throws {RangeError} If `keep` or `fullEvery` is not a whole number from 1 on.
   */
  constructor(devices: Device | readonly Device[], folder: string, options: ChainOptions = {}) {
    for (const name of ["keep", "fullEvery"] as const) {
      const value = options[name] ?? 1;
      if (Number.isSafeInteger(value) && value >= 1) continue;
      throw new RangeError(`Cannot take checkpoints: ${name} is ${value}, and 1 is the least`);
    }
    demandOwner(options);
    this.#devices = devices instanceof Device ? [devices] : devices;
    this.#folder = folder;
    this.#options = options;
    // Of others none is taken: nothing is to be left of that.
    if (this.#devices.every(canMigrate)) makeFolder(folder);
  }

  /**
   * Takes one checkpoint. If that fails, the devices run again, no file of it is left, and the next
   * checkpoint is a full one: what was sent of this one is not known to be anywhere.
   *
   * @param options `signal` ends it.
   * @throws {TypeError} If one is being taken, or there is no device.
   * @throws {TransferError} With what failed, and the state of each device; its cause is an
   * `UnsupportedError` if one cannot migrate.
   * @throws {CheckpointFileError} If the file cannot be created; no device was touched.
   */
  async take(options: { readonly signal?: AbortSignal | undefined } = {}): Promise<LinkReport> {
    if (this.#busy) throw new TypeError("Cannot take a checkpoint: one is being taken");
    this.#busy = true;
    try {
      await demandMigration(this.#devices, "checkpoint");
      const link = this.#nextLink();
      this.#last = null;
      const report = await this.#take(link, options.signal);
      this.#last = link;
      if (link.previous === null) this.#taken.push([]);
      this.#taken.at(-1)!.push(link.number);
      return { ...report, ...this.#prune(report.warnings) };
    } finally {
      this.#busy = false;
    }
  }

  #nextLink(): ChainLink {
    const last = this.#last;
    const { fullEvery = DEFAULT_FULL_EVERY } = this.#options;
    const id = randomBytes(16).toString("hex");
    const full = last === null || this.#taken.at(-1)!.length >= fullEvery;
    return {
      chain: full ? id : last.chain,
      id,
      // Of what is there: a file of a checkpoint that failed late may have got its name.
      number: (linkNumbers(this.#folder).at(-1) ?? -1) + 1,
      previous: full ? null : { id: last.id, number: last.number },
      memory: this.#devices.map(({ description }) => ({ ranges: description.mappings })),
    };
  }

  async #take(
    link: ChainLink,
    signal: AbortSignal | undefined,
  ): Promise<Omit<LinkReport, "removed">> {
    const begun = performance.now();
    return await cleanlyAsync(async () => {
      using lockstep = new Lockstep("checkpoint", this.#devices, signal);
      const name = linkFile(this.#folder, link.number);
      await using file = await createCheckpointFile(name);
      const members = lockstep.members;
      const identities = members.map(({ device }) => device.description.identity!);
      const sender = new FrameSender(new FileSink(file, lockstep), members, {
        ...newHeader(identities),
        link,
      });
      const copy = new LiveCopy(lockstep, sender, this.#options);
      const stop = new StepTimes<StopStep["step"]>();
      try {
        await this.#send(link, { lockstep, sender, copy, stop });
      } catch (error) {
        const failure = await lockstep.failure(error);
        await copy.resumeOwner();
        throw failure;
      }
      stop.begin("run");
      try {
        await runAgain(lockstep);
      } finally {
        await copy.resumeOwner();
      }
      stop.end();
      const kept = await this.#keep(file, sender, signal);
      await demandCommitted(lockstep, kept);
      const { devices, downtimeSeconds } = await lockstep.reports(() => ({
        phases: [],
        seconds: 0,
      }));
      return {
        number: link.number,
        file: name,
        kind: link.previous === null ? "full" : "increment",
        seconds: (performance.now() - begun) / 1000,
        stopSeconds: downtimeSeconds ?? stop.seconds,
        stop: stop.steps,
        rounds: copy.rounds,
        bytes: sender.bytes,
        storedBytes: sender.sent,
        readBack: kept.readBack,
        warnings: copy.warnings,
        devices,
      };
    });
  }

  /** Sends all of a checkpoint; the devices stand still afterwards. */
  async #send(
    link: ChainLink,
    { lockstep, sender, copy, stop }: Sending,
  ): Promise<void> {
    await copy.check();
    lockstep.touch();
    await lockstep.until(sender.begin());
    if (link.previous === null) this.#scans = await copy.begin();
    else await copy.resume(this.#scans);
    const { downtimeMs = DEFAULT_DOWNTIME_MS, maxRounds = DEFAULT_ROUNDS } = this.#options;
    const limits = { downtimeMs, maxRounds, maxTimeMs: Infinity };
    // More rounds do not make comparing all pages any shorter: it does not count here.
    do await copy.round(); while (afterRound(copy.rounds, 0, limits) === "round");
    if (this.#options.owner !== undefined) stop.begin("quiesce");
    await copy.quiesce();
    stop.begin("stop");
    await copy.stop();
    stop.begin("memory");
    await copy.sendMemory();
    stop.begin("device data");
    await copy.sendDeviceData();
    await lockstep.until(sender.end());
  }

  /** Syncs the file, reads it back, and puts it in its place. */
  async #keep(
    file: CheckpointFile,
    { devices }: FrameSender,
    signal: AbortSignal | undefined,
  ): Promise<CommitResult> {
    const readBack = this.#options.readBack === false ? undefined : file.readBack;
    try {
      if (readBack !== undefined) await readBack.sync();
      else {
        await file.commit();
        return committedUnread(file);
      }
    } catch (error) {
      const reason = "not-reached";
      return { error: error as Error, readBack: { done: false, seconds: null, reason } };
    }
    return await commit(file, readBack, devices, signal);
  }

  /** Removes the checkpoints that are older than those that are kept. */
  #prune(warnings: readonly string[]): Pick<LinkReport, "removed" | "warnings"> {
    const removed: number[] = [];
    const { keep } = this.#options;
    if (keep === undefined) return { removed, warnings };
    const enough = (_: unknown, first: number): boolean =>
      this.#taken.slice(first).reduce((sum, { length }) => sum + length, 0) >= keep;
    const oldest = this.#taken.findLastIndex(enough);
    if (oldest < 0) return { removed, warnings };
    this.#taken.splice(0, oldest);
    const first = this.#taken[0]![0]!;
    // The last first: whenever this ends, what is left builds on what is there.
    for (const number of linkNumbers(this.#folder).reverse().filter((each) => each < first)) {
      const file = linkFile(this.#folder, number);
      try {
        fs.unlinkSync(file);
        removed.push(number);
      } catch (error) {
        return { removed, warnings: [...warnings, `Cannot remove "${file}": ${whyFailed(error)}`] };
      }
    }
    return { removed, warnings };
  }

  /** Stops the trackers, of devices that were not closed before. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#devices.map(async ({ dirty }) => {
      try {
        await dirty?.stop();
      } catch (error) {
        if (!(error instanceof DeviceClosedError)) throw error;
      }
    }));
  }
}

/** Frames that go to a file. */
class FileSink implements FrameSink {
  readonly #file: CheckpointFile;
  readonly #lockstep: Lockstep;
  #writing: Promise<void> = Promise.resolve();

  constructor(file: CheckpointFile, lockstep: Lockstep) {
    this.#file = file;
    this.#lockstep = lockstep;
  }

  send(parts: readonly Uint8Array<ArrayBuffer>[]): Promise<void> {
    const before = this.#writing;
    const writing = (async (): Promise<void> => {
      await before;
      for (const part of parts) await this.#file.write(part);
    })();
    // It is no device that fails.
    writing.catch((error) => this.#lockstep.end(error));
    return this.#writing = writing;
  }
}
