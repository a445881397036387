/**
 * The v2 protocol on one device: combines state machine, data fd, save and restore.
 */

import type { Hint } from "../../base/vfiokit_error.ts";
import { SysError } from "../../kernel/sys_error.ts";
import { VFIO_MIGRATION_PRE_COPY } from "../../uapi/mod.ts";
import type { VfioDevice } from "../../vfio/device/device.ts";
import type { Counters, OnError, PrecopyLimits } from "../protocol/engine.ts";
import { BaseEngine, type Restore, type Save } from "../protocol/base_engine.ts";
import type { DataFdHandover } from "./data_fd_handover.ts";
import { V2DataFd } from "./v2_data_fd.ts";
import { V2Machine, type V2Target, v2Target } from "./v2_machine.ts";
import { V2Restore } from "./v2_restore.ts";
import { V2Save } from "./v2_save.ts";
import type { Phase } from "../../checkpoint/batches/transaction.ts";
import type { StateName, TargetState } from "../../vfio/state/states.ts";

/**
 * States in which a save is under way: the process that brought the device there has its data fd.
 */
const HOLDING_DATA: readonly StateName[] = ["pre-copy", "pre-copy-p2p"];
const PRECOPY_FROM: readonly StateName[] = ["running", "running-p2p", ...HOLDING_DATA];
const SAVE_FROM: readonly StateName[] = [...PRECOPY_FROM, "stop"];
const RESTORE_FROM: readonly StateName[] = ["running", "running-p2p", "stop"];

/** What the errno of the precopy info means for an fd that was handed over. */
const REFUSALS: Readonly<Record<string, string>> = {
  ENOTTY: "it is no migration data fd (ENOTTY)",
  EINVAL: "its device is not in pre-copy (EINVAL)",
  ENODEV: "its device has left pre-copy since (ENODEV)",
};

const START_OVER: Hint = {
  text: "give up what was read by setting the device to RUNNING, and begin anew",
  remedy: "set-running",
};
const HAND_OVER: Hint = {
  text:
    "run both phases where the device is lent to them with a handover to hand the data fd over " +
    "(they must be allowed to read the environment variable VFIOKIT_DEVICES)",
  remedy: "lend",
};

/** What the v2 protocol needs of a device. */
export interface V2EngineParts {
  /** The device. */
  readonly device: VfioDevice;
  /** The device's VFIO_MIGRATION_* flags. */
  readonly flags: number;
  /** How the data fd goes from one program to the next; null if it does not. */
  readonly handover: DataFdHandover | null;
  /** What is done after a failure, unless a call says otherwise. */
  readonly onError: OnError;
  /** The progress that the caller's thread sees. */
  readonly counters: Counters;
}

/** The v2 engine. */
export class V2Engine extends BaseEngine<V2Target> {
  readonly #device: VfioDevice;
  readonly #flags: number;
  readonly #data: V2DataFd;
  readonly #machine: V2Machine;

  constructor({ device, flags, handover, onError, counters }: V2EngineParts) {
    const data = new V2DataFd(device, handover, counters);
    const machine = new V2Machine({ device, flags, data, onError, counters });
    super("v2", machine, counters);
    this.#device = device;
    this.#flags = flags;
    this.#data = data;
    this.#machine = machine;
  }

  protected override named(target: TargetState): V2Target | null {
    return v2Target(target);
  }

  protected override savesFrom(phase: Phase, precopied: boolean): readonly StateName[] {
    return precopied ? HOLDING_DATA : phase === "pre-copy" ? PRECOPY_FROM : SAVE_FROM;
  }

  override checkSave(phase: Phase): void {
    super.checkSave(phase);
    const { state } = this.counters;
    if (phase === "pre-copy" && (this.#flags & VFIO_MIGRATION_PRE_COPY) === 0) {
      throw this.steps.error(
        "Cannot enter pre-copy: the driver does not offer it (VFIO_MIGRATION_PRE_COPY)",
        "no-precopy",
        undefined,
        { text: "save the device without pre-copy", remedy: null },
      );
    }
    if (HOLDING_DATA.includes(state) && !this.#data.open) this.#takeOver(phase, state);
  }

  protected override enterSave(
    phase: Phase,
    from: readonly StateName[],
    limits: PrecopyLimits,
  ): Save {
    // If the device is in pre-copy already, this is not the first precopy info.
    const fresh = !HOLDING_DATA.includes(this.counters.state);
    if (phase === "pre-copy") this.#machine.askForReinit();
    this.#machine.transition(phase === "pre-copy" ? "pre-copy" : "stop-copy", from);
    const { kernel, notes } = this.#device;
    return new V2Save({
      kernel,
      fd: this.#data.fd,
      estimates: this.#machine,
      counters: this.counters,
      phase,
      limits,
      notes,
      fresh,
    });
  }

  /** Gets the data fd from the process that brought the device into pre-copy. */
  #takeOver(phase: Phase, state: StateName): void {
    const what = `Cannot enter ${phase}: the device is in ${state}, and `;
    try {
      if (this.#data.takeOver()) return;
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      const meaning = REFUSALS[error.code] ?? error.message;
      throw this.steps.error(
        `${what}what was handed over is of no use: ${meaning}`,
        "bad-data-fd",
        error,
        START_OVER,
      );
    }
    // No other process has a device that this one opened: the driver kept the state, and the fd is
    // lost.
    const { borrowed } = this.#device;
    throw this.steps.error(
      what + (borrowed ? "the data fd is another process's" : "nobody has its data fd any more"),
      "no-data-fd",
      undefined,
      borrowed && !this.#data.hasHandover ? HAND_OVER : START_OVER,
    );
  }

  override handOver(): void {
    if (!this.#data.hasHandover) {
      // The error has the state, which may not have been read yet.
      this.#machine.state();
      const what = "Cannot hand the data fd over: the device was opened with no handover for it";
      throw this.steps.error(what, "no-data-fd-sockets", undefined, HAND_OVER);
    }
    this.steps.run("Cannot hand the data fd over", () => this.#data.handOver());
  }

  override checkRestore(): void {
    this.steps.demandState("resuming", this.#machine.state().state, RESTORE_FROM);
  }

  protected override enterRestore(): Restore {
    const { kernel, notes } = this.#device;
    return new V2Restore(kernel, this.#data.fd, this.counters, notes);
  }

  protected override leaveRestore(leave: "running" | "stop"): void {
    this.judge("stop");
    if (leave === "running") this.#machine.transition("running", ["stop"]);
  }

  override [Symbol.dispose](): void {
    this.#data.close();
  }
}
