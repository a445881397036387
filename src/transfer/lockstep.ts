/**
 * Devices that take their steps together: the first that fails, or the caller's
 * signal, ends it for all. One device is as many as any.
 */

import { addCleanup } from "../base/cleanup.ts";
import type { RecoveryMode } from "../migration/protocol/engine.ts";
import { ask, onClosed, watchNotes } from "../migration/thread/session_client.ts";
import type { NoteWatch } from "../migration/notes/note_book.ts";
import type { Device } from "../migration/device.ts";
import { DeviceClosedError } from "../migration/closed_error.ts";
import { MigrationError } from "../migration/migration_error.ts";
import type { StateName, TargetState } from "../vfio/state/states.ts";
import { UnsupportedError } from "../vfio/reasons/unsupported_error.ts";
import type { TransferError } from "./transfer_error.ts";
import { MAX_DEVICES } from "../checkpoint/frames/constants.ts";
import { stateNow } from "./_state_now.ts";
import { type FinalState, transferError } from "./_transfer_failure.ts";
import type { PrecopyReport } from "../vfio/state/precopy_report.ts";
import { jointStandstill, type Standstill, standstill } from "../vfio/state/standstill.ts";
import {
  commonState,
  type DeviceReport,
  deviceTimes,
  type PhaseReport,
  totals,
  type TransferReport,
} from "./report.ts";

/** One of the devices. */
export interface Member {
  /** The device. */
  readonly device: Device;
  /** Its number in the checkpoint. */
  readonly number: number;
  /** The phases that it has been through. */
  readonly phases: PhaseReport[];
  /** Whether it moves data now, in a phase that is not in `phases` yet. */
  moving: boolean;
  /** What its driver does against the rules. */
  readonly notes: NoteWatch;
  /** What went wrong with it first. */
  error: Error | null;
  /** Resolves once it is not about its last step any more. */
  idle: Promise<void>;
}

/** For how long a device's thread has left a request without an answer, in milliseconds. */
export function unansweredMs(members: readonly Member[]): number {
  return Math.max(0, ...members.map(({ device }) => device.progress().unansweredMs));
}

/** A lockstep of devices. */
export class Lockstep implements Disposable {
  /** All of them, in the caller's order. */
  readonly members: readonly Member[];
  /** What is being done, for messages: `save 2 devices`. */
  readonly what: string;
  readonly #caller: AbortSignal | undefined;
  readonly #ending = new AbortController();
  readonly #ended = Promise.withResolvers<never>();
  readonly #onAbort: () => void;
  readonly #listening: readonly (() => void)[];
  /** What ended it. */
  #reason: unknown;
  #touched = false;
  readonly #begun = performance.timeOrigin + performance.now();

  /**
   * `what` is being done, for messages: `save`.
   *
   * @throws {TypeError} If there is none, or more than a checkpoint holds, or one twice.
   */
  constructor(
    what: "save" | "restore" | "migrate" | "receive" | "checkpoint",
    devices: readonly Device[],
    signal?: AbortSignal,
  ) {
    this.what = `${what} ${devices.length === 1 ? "the device" : `${devices.length} devices`}`;
    if (devices.length < 1 || devices.length > MAX_DEVICES) {
      throw new TypeError(`Cannot ${this.what}: a checkpoint holds 1 to ${MAX_DEVICES}`);
    }
    devices.forEach((device, number) => {
      const first = devices.findIndex((other) => isSame(other, device));
      if (first === number) return;
      throw new TypeError(
        `Cannot ${this.what}: device ${number}, ${device.name}, is device ${first} too`,
      );
    });
    this.members = devices.map((device, number) => {
      const notes = watchNotes(device);
      return {
        device,
        number,
        phases: [],
        moving: false,
        notes,
        error: null,
        idle: Promise.resolve(),
      };
    });
    this.#caller = signal;
    this.#ended.promise.catch(() => {});
    this.#onAbort = (): void => this.end(signal?.reason);
    signal?.addEventListener("abort", this.#onAbort);
    if (signal?.aborted) this.#onAbort();
    // A wait for something other than an answer ends with it, too.
    this.#listening = this.members.map((member) =>
      onClosed(member.device, (error) => {
        member.error ??= error;
        this.end(error);
      })
    );
  }

  /** Aborted once it is over, with what ended it. */
  get signal(): AbortSignal {
    return this.#ending.signal;
  }

  /** From now on the devices are changed: a failure has to bring them back. */
  touch(): void {
    this.#touched = true;
  }

  /** Ends it for all. What ended it first counts. */
  end(reason: unknown): void {
    if (this.signal.aborted) return;
    this.#reason = reason;
    this.#ending.abort(reason);
    this.#ended.reject(reason);
  }

  /** Waits for something that goes on for all, until that or everything ends. */
  async until<Value>(work: Promise<Value>): Promise<Value> {
    work.catch((error) => this.end(error));
    return await Promise.race([work, this.#ended.promise]);
  }

  /** What a device does, or fails at, which ends it for all. */
  async attempt<Value>(member: Member, work: Promise<Value>): Promise<Value> {
    member.idle = work.then(() => {}, () => {});
    try {
      return await work;
    } catch (error) {
      // That it was closed is known already; this says what became of the step, too.
      if (error instanceof DeviceClosedError && isClosed(member.error)) {
        if (this.#reason === member.error) this.#reason = error;
        member.error = error;
      }
      // What was told to all is nobody's own failure; nor is having been interrupted then.
      const { aborted, reason } = this.signal;
      const told = aborted &&
        (error === reason || (error as MigrationError).code === "interrupted");
      if (!told) member.error ??= error as Error;
      this.end(error);
      throw error;
    }
  }

  /**
   * All of these take a step at the same time; it is over when each has taken
   * it, or with the first failure, whoever is still about it.
   */
  async step(
    take: (member: Member) => Promise<unknown>,
    members: readonly Member[] = this.members,
  ): Promise<void> {
    this.signal.throwIfAborted();
    await this.until(Promise.all(members.map((member) => this.attempt(member, take(member)))));
  }

  /**
   * Reads all states. A device without migration refuses this, with its reasons; if a state
   * cannot be read for once, what comes next reads it again.
   */
  async look(): Promise<void> {
    await this.step(({ device }) => device.state());
  }

  /** All of these take a last step, each whatever becomes of the others. */
  async lastStep(
    take: (member: Member) => Promise<unknown>,
    members: readonly Member[] = this.members,
  ): Promise<void> {
    await Promise.all(members.map(async (member) => {
      try {
        await take(member);
      } catch (error) {
        member.error ??= error as Error;
      }
    }));
  }

  /** Those with the P2P states. One that is alone has nobody to keep its DMA from. */
  get p2p(): readonly Member[] {
    return this.members.length === 1
      ? []
      : this.members.filter(({ device }) => device.description.p2p);
  }

  /**
   * Holds back what devices with the P2P states would begin of DMA to the
   * others, from where they run.
   */
  async enterP2p(): Promise<void> {
    await this.step(async ({ device }) => {
      const state = await stateNow(device);
      // Once it is over, the device is being brought back: it takes no step after that.
      this.signal.throwIfAborted();
      if (state === "running") await advance(device, "running", "running-p2p");
      if (state === "pre-copy") await advance(device, "pre-copy", "pre-copy-p2p");
    }, this.p2p);
  }

  /**
   * Brings the devices back, those with P2P states by way of RUNNING_P2P, where
   * each waits for the others; makes the error that says what ended it, and
   * what each of them does now. One that cannot be brought back, or blocks for
   * a while, keeps no other from that.
   *
   * @param way How; asked once nothing else is asked of the device any more.
   */
  async failure(
    error: unknown,
    way: (member: Member) => Promise<RecoveryMode> = () => Promise.resolve("running"),
  ): Promise<TransferError> {
    this.end(error);
    const left = this.#touched ? await this.#bringBack(way) : await this.states();
    // What became of the step that was under way on a closed device, its answer says.
    await Promise.all(this.members.filter(({ error }) => isClosed(error)).map(({ idle }) => idle));
    const cause = this.#reason;
    const interrupted = this.#caller?.aborted === true && this.#caller.reason === cause;
    const failure = { what: `Cannot ${this.what}`, cause, interrupted };
    return transferError(failure, this.members, left);
  }

  async #bringBack(way: (member: Member) => Promise<RecoveryMode>): Promise<FinalState[]> {
    const alone = this.members.length === 1;
    const [only] = this.members as readonly [Member];
    const { error, device } = only;
    // Its own thread has brought it back, or could not: nothing is tried twice. A step that leaves
    // that to the lockstep has done nothing about a device that must be reset.
    if (alone && error instanceof MigrationError) {
      const left = error.recovery === "none" && await way(only) === "reset";
      if (!left) return [{ state: await stateNow(device), recovery: error.recovery }];
    }
    const halfway = await Promise.all(this.members.map(async (member) => {
      const { device } = member;
      try {
        const chosen = await way(member);
        const recovery = await device.recover(
          chosen === "running" && !alone ? "running-p2p" : chosen,
        );
        return { chosen, recovery };
      } catch (error) {
        return this.#finalStateAfter(error);
      }
    }));
    return await Promise.all(this.members.map(async ({ device }, index): Promise<FinalState> => {
      const before = halfway[index]!;
      if ("state" in before) return before;
      try {
        const halfway = !alone && before.chosen === "running" && before.recovery !== "failed" &&
          before.recovery !== "ignored";
        const recovery = halfway ? await device.recover() : before.recovery;
        return { state: await stateNow(device), recovery };
      } catch (error) {
        return this.#finalStateAfter(error);
      }
    }));
  }

  /** How a device is left that could not be asked: closed, or nothing more is known of it. */
  #finalStateAfter(error: unknown): FinalState {
    if (isClosed(error)) return { state: null, recovery: "none" };
    addCleanup(this.#reason, error);
    return { state: "unknown", recovery: "failed" };
  }

  /** The states of devices that nothing has to be done about. */
  async states(): Promise<FinalState[]> {
    return await Promise.all(this.members.map(async ({ device }): Promise<FinalState> => {
      try {
        return { state: await stateNow(device), recovery: "none" };
      } catch (error) {
        const untold = error instanceof UnsupportedError || isClosed(error);
        return { state: untold ? null : "unknown", recovery: "none" };
      }
    }));
  }

  /** Whether all of them run. */
  async allRun(): Promise<boolean> {
    const states = await this.states();
    return states.every(({ state }) => state === "running");
  }

  /**
   * The reports of the devices, and what they say of all of them; for the end of the work.
   *
   * @param timed A device's phases, and how long they took.
   */
  async reports(
    timed: (member: Member) => Pick<DeviceReport, "phases" | "seconds">,
  ): Promise<Pick<TransferReport, "state" | "downtimeSeconds" | "devices">> {
    const states = await this.states();
    const times = await this.#times();
    const devices = this.members.map((member) => ({
      name: member.device.name,
      p2p: member.device.description.p2p,
      state: states[member.number]!.state ?? "unknown",
      ...totals(member.phases),
      ...timed(member),
      ...deviceTimes(times[member.number]!),
      notes: member.notes.list(),
    }));
    return {
      state: commonState(devices),
      downtimeSeconds: jointStandstill(times.map(({ standstill }) => standstill)),
      devices,
    };
  }

  /** When each device stood still since the work began, and how its pre-copy went. */
  async #times(): Promise<
    readonly { standstill: Standstill | null; precopy: PrecopyReport | null }[]
  > {
    return await Promise.all(this.members.map(async ({ device }) => {
      try {
        const { changes, precopy } = await ask(device, "times");
        const own = changes.filter(({ begun }) => begun >= this.#begun);
        return { standstill: standstill(own), precopy };
      } catch (error) {
        // A device that was closed meanwhile does not tell any more.
        if (!(error instanceof DeviceClosedError)) throw error;
        return { standstill: null, precopy: null };
      }
    }));
  }

  /** Listens no longer, neither to the signal nor to the devices. */
  [Symbol.dispose](): void {
    for (const stop of this.#listening) stop();
    for (const { notes } of this.members) notes[Symbol.dispose]();
    this.#caller?.removeEventListener("abort", this.#onAbort);
  }
}

/** Whether a device has been closed: it is its owner's no more, and has no state to tell. */
function isClosed(error: unknown): boolean {
  return error instanceof DeviceClosedError && error.code === "closed";
}

/**
 * Takes a device from one state to another; a device that has left it was reset by another process.
 * Where that fails nothing is done about it here: the lockstep decides, for all.
 */
export function advance(device: Device, from: StateName, target: TargetState): Promise<unknown> {
  return ask(device, "setState", target, "nothing", [from]);
}

/** Whether two are one device: the same object, or the same borrowed fd. */
function isSame(one: Device, other: Device): boolean {
  const [a, b] = [one.description, other.description];
  return one === other || a.borrowed && b.borrowed && a.fds.device === b.fds.device;
}
