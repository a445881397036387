/**
 * Sends devices and their memory as one checkpoint: in rounds while they run, and the rest once they
 * stand still.
 */

import { type DirtyReading, WriteProtectionError } from "../dirty/mod.ts";
import { demandWriteProtection } from "../dirty/protection/written_pages.ts";
import { libcKernel } from "../kernel/mod.ts";
import { NO_LIMITS, precopyLimits } from "../migration/protocol/precopy_limits.ts";
import { ask } from "../migration/thread/session_client.ts";
import type { Lockstep } from "../transfer/lockstep.ts";
import type { IovaMapping } from "../vfio/dma/iova.ts";
import type { Owner, OwnerOptions } from "./attach/owner.ts";
import type { Round } from "./convergence.ts";
import type { FrameSender } from "./frame_sender.ts";
import { LiveError } from "./live_error.ts";

/** The scans of the devices' memory, which know what was sent of each page. */
export type PageScans = readonly number[];

/** How memory is copied. */
export interface LiveCopyOptions extends OwnerOptions {
  /**
   * Hashes a page only when it is sent again, where the tracker is fine enough: the first time costs
   * less then. Default false.
   */
  readonly lazyHashes?: boolean | undefined;
  /** Is called with each reading of a device's tracker, by the device's number. */
  readonly onDirty?: ((reading: DirtyReading, device: number) => void) | undefined;
}

/** One device, or several that stop together. */
export class LiveCopy {
  readonly #lockstep: Lockstep;
  readonly #sender: FrameSender;
  readonly #compares: boolean;
  /** Whether there was a round that compared all memory. */
  #compared = false;
  readonly #lazyHashes: boolean;
  readonly #owner: Owner | null;
  /** What the owner wrote to, if it says so. */
  readonly #reported: Owner["dirty"];
  /** What the owner write-protects, if its writes are found by that. */
  readonly #protected: Owner["protectedMemory"];
  /** Whether the owner was asked to stop, and not to go on. */
  #quiesced = false;
  readonly #onDirty: LiveCopyOptions["onDirty"];
  #scans: PageScans = [];
  /** Whether the devices stand still, and what is added now is the last. */
  #last = false;
  /** Bytes of memory that were due so far, without those that are only compared after the stop. */
  #due = 0;
  /** The rounds so far. */
  readonly rounds: Round[] = [];
  /** What the caller should know, such as a tracker that does not track. */
  readonly warnings: string[] = [];

  constructor(lockstep: Lockstep, sender: FrameSender, options: LiveCopyOptions) {
    const { owner, ownerWrites = "compare", lazyHashes = false, onDirty } = options;
    this.#lockstep = lockstep;
    this.#sender = sender;
    this.#owner = owner ?? null;
    this.#compares = ownerWrites === "compare";
    this.#lazyHashes = lazyHashes;
    this.#reported = ownerWrites === "reported" ? owner!.dirty!.bind(owner) : undefined;
    this.#protected = ownerWrites === "protect" ? owner!.protectedMemory!.bind(owner) : undefined;
    this.#onDirty = onDirty;
  }

  /** Refuses what cannot begin now; no device is touched. */
  async check(): Promise<void> {
    await this.#lockstep.look();
    await this.#lockstep.step(({ device }) =>
      ask(device, "checkSave", device.description.precopy ? "pre-copy" : "stop-and-copy")
    );
    if (this.#protected === undefined) return;
    try {
      for (const { device, number } of this.#lockstep.members) {
        demandWriteProtection(libcKernel(), this.#protected(number), device.description.mappings);
      }
    } catch (error) {
      throw ofOwner(error);
    }
  }

  /** Starts tracking; all memory is due. Returns the scans, for a copy that goes on after this one. */
  async begin(): Promise<PageScans> {
    const scans: number[] = [];
    await this.#lockstep.step(async ({ device, number }) => {
      if (device.dirty === null) {
        this.#warn(`${device.name} has no tracker: all of its memory counts as dirty`);
      } else await device.dirty.start();
      const ownerMemory = this.#protected?.(number) ?? null;
      scans[number] = await ask(device, "beginPages", {
        ...{ device: number, lazyHashes: this.#lazyHashes, streams: this.#sender.streams },
        ownerMemory: ownerMemory && { pagemap: ownerMemory.pagemap, ranges: ownerMemory.ranges },
      });
    });
    this.#scans = scans;
    // What it wrote until now is in the memory that is due; from here on it has to be reported.
    for (const { number } of this.#lockstep.members) {
      await this.#lockstep.until(this.#reported?.(number) ?? Promise.resolve([]));
    }
    await this.#add("all");
    return scans;
  }

  /** Goes on after a copy that was sent whole: what has changed since is due. */
  async resume(scans: PageScans): Promise<void> {
    this.#scans = scans;
    await this.#addDirty();
  }

  /** Sends what is due of memory, and what devices with pre-copy have to give. */
  async round(): Promise<void> {
    const pass = precopyLimits({ maxRounds: 1 });
    const { moved, looked, sendingSeconds } = this.#sender;
    const begun = performance.now();
    // With nothing else left, comparing alone takes longer than is allowed, as far as is known.
    const compared = this.#compares && !this.#compared && this.rounds.at(-1)?.left === 0;
    if (compared) {
      this.#compared = true;
      this.#sender.measureAgain();
      await this.#add("all");
    }
    await this.#lockstep.step(async (member) => {
      await this.#sender.sendMemory(member, this.#lockstep.signal);
      if (!member.device.description.precopy) return;
      // Once it is over, the device is being brought back: it must not enter pre-copy after that.
      this.#lockstep.signal.throwIfAborted();
      await this.#sender.sendDevice(member, "pre-copy", pass);
    });
    await this.#lockstep.until(this.#sender.drained());
    const seconds = (performance.now() - begun) / 1000;
    const pending = this.#pending;
    const dirtied = await this.#addDirty();
    const left = dirtied + pending;
    this.rounds.push({
      sent: this.#sender.moved - moved,
      seconds,
      sending: this.#sender.sendingSeconds - sendingSeconds,
      looked: this.#sender.looked.bytes - looked.bytes,
      looking: this.#sender.looked.seconds - looked.seconds,
      dirtied,
      left,
      ...(compared ? { compared } : {}),
    });
  }

  /** Asks the owner to stop writing to memory. */
  async quiesce(): Promise<void> {
    if (this.#owner === null) return;
    this.#quiesced = true;
    await this.#lockstep.until(this.#owner.quiesce());
  }

  /** Lets the owner go on with the devices that run, if it was asked to stop. */
  async resumeOwner(): Promise<void> {
    if (!this.#quiesced) return;
    const states = await this.#lockstep.states();
    const running = [...states.keys()].filter((number) => states[number]!.state === "running");
    if (running.length === 0) return;
    this.#quiesced = false;
    // If it is gone, nobody waits for this.
    await this.#owner!.resume(running).catch(() => {});
  }

  /** Stops the devices. */
  async stop(): Promise<void> {
    await this.#lockstep.enterP2p();
    await this.#lockstep.step(({ device }) => ask(device, "beginSave", "stop-and-copy", NO_LIMITS));
  }

  /** Sends the rest of memory, of devices that stand still. */
  async sendMemory(): Promise<void> {
    // The devices stand still: nothing becomes dirty after this.
    this.#last = true;
    await this.#addDirty();
    if (this.#compares) await this.#add("all", false);
    await this.#lockstep.step((member) => this.#sender.sendMemory(member, this.#lockstep.signal));
  }

  /** Sends the rest of the devices' data, after they were stopped. */
  async sendDeviceData(): Promise<void> {
    await this.#lockstep.step(({ device, number }) =>
      this.#sender.drain(device, number, "stop-and-copy")
    );
  }

  /** How long comparing all pages takes after the stop, as far as is known. */
  get compareMs(): number {
    if (!this.#compares) return 0;
    const bytes = this.#lockstep.members
      .flatMap(({ device }) => device.description.mappings)
      .reduce((sum, { size }) => sum + Number(size), 0);
    return this.#sender.secondsToLookAt(bytes) * 1000;
  }

  /** What the devices report as pending, in bytes. */
  get #pending(): number {
    return this.#lockstep.members.reduce(
      (sum, { device }) => sum + (device.progress().pendingBytes ?? 0),
      0,
    );
  }

  /** Bytes that are still to be sent, as far as is known. */
  get left(): number {
    const { memory, zero, same } = this.#sender.bytes;
    return Math.max(0, this.#due - memory - zero - same) + this.#pending;
  }

  /** Adds what the trackers saw, and what the owner reports. */
  async #addDirty(): Promise<number> {
    const bytes = await this.#add("dirty");
    if (this.#reported === undefined) return bytes;
    const reports: (readonly IovaMapping[])[] = [];
    for (const { number } of this.#lockstep.members) {
      reports.push(await this.#lockstep.until(this.#reported(number)));
    }
    return bytes + await this.#add(reports);
  }

  /**
   * Adds memory to what is due, or ranges of each device, for sending or only for comparing; returns
   * its bytes.
   */
  async #add(
    what: "all" | "dirty" | readonly (readonly IovaMapping[])[],
    sends = true,
  ): Promise<number> {
    let bytes = 0;
    await this.#lockstep.step(async ({ device, number }) => {
      const own = typeof what === "string" ? what : what[number]!;
      const due = await ask(device, "addPages", own, this.#scans[number]!, this.#last).catch(
        (error) => {
          throw ofOwner(error);
        },
      );
      bytes += due.bytes;
      if (due.reading !== null) this.#onDirty?.(due.reading, number);
      if (due.verdict === "does-not-track") {
        this.#warn(
          `The IOMMU of ${device.name} does not track: all of its memory is dirty in each round`,
        );
      }
      for (const lost of due.lost) this.#warn(lost);
    });
    if (sends) this.#due += bytes;
    return bytes;
  }

  #warn(text: string): void {
    if (!this.warnings.includes(text)) this.warnings.push(text);
  }
}

/** An error about memory that is not protected, as one of the owner's. */
function ofOwner(error: unknown): unknown {
  if (!(error instanceof WriteProtectionError)) return error;
  return new LiveError("owner-protocol", error.message, error.hint ?? "", { cause: error });
}
