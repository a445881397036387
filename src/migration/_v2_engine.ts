/**
 * The v2 protocol on one device: state machine, data fd and loops put together.
 */

import { VFIO_MIGRATION_PRE_COPY } from "../uapi/mod.ts";
import type { VfioDevice } from "../vfio/device.ts";
import type { Counters, OnError, PrecopyLimits } from "./_engine.ts";
import { ProtocolEngine } from "./_protocol_engine.ts";
import { V2Machine, type V2Target, v2Target } from "./_v2_machine.ts";
import { V2Restore } from "./_v2_restore.ts";
import { V2Save } from "./_v2_save.ts";
import { MigrationError } from "./error.ts";
import type { Phase, StateName, TargetState } from "./types.ts";

const PRECOPY_FROM: readonly StateName[] = ["running", "running-p2p", "pre-copy", "pre-copy-p2p"];
/** States in which a save is under way: whoever brought the device there has its data fd. */
const HOLDING_DATA: readonly StateName[] = ["pre-copy", "pre-copy-p2p"];
const SAVE_FROM: readonly StateName[] = [...PRECOPY_FROM, "stop"];
const RESTORE_FROM: readonly StateName[] = ["running", "running-p2p", "stop"];

/** The v2 engine. */
export class V2Engine extends ProtocolEngine<V2Target> {
  readonly #device: VfioDevice;
  readonly #flags: number;
  readonly #machine: V2Machine;

  /** `flags` are the device's VFIO_MIGRATION_* flags. */
  constructor(device: VfioDevice, flags: number, onError: OnError, counters: Counters) {
    const machine = new V2Machine(device, flags, onError, counters);
    super("v2", machine, counters);
    this.#device = device;
    this.#flags = flags;
    this.#machine = machine;
  }

  protected override named(target: TargetState): V2Target | null {
    return v2Target(target);
  }

  override beginSave(phase: Phase, limits: PrecopyLimits): void {
    const { state } = this.#machine.state();
    this.guard.demandState(phase, state, phase === "pre-copy" ? PRECOPY_FROM : SAVE_FROM);
    if (phase === "pre-copy" && (this.#flags & VFIO_MIGRATION_PRE_COPY) === 0) {
      throw this.guard.error(
        "Cannot enter pre-copy: the driver does not offer it (VFIO_MIGRATION_PRE_COPY)",
        "no-precopy",
      );
    }
    if (HOLDING_DATA.includes(state) && !this.#machine.hasData) {
      throw this.guard.error(
        `Cannot enter ${phase}: the device is in ${state}, and the data fd is another process's`,
        "no-data-fd",
      );
    }
    this.restart();
    if (phase === "pre-copy") this.#machine.askForReinit();
    this.enterSave(
      phase,
      phase === "pre-copy" ? "pre-copy" : "stop-copy",
      () => new V2Save(this.#machine, this.counters, phase, limits),
    );
  }

  override beginRestore(): void {
    this.guard.demandState("resuming", this.#machine.state().state, RESTORE_FROM);
    this.restart();
    this.enterRestore(() => new V2Restore(this.#device.kernel, this.#machine.data, this.counters));
  }

  protected override leaveRestore(leave: "running" | "stop"): void {
    this.#judge();
    if (leave === "running") this.#machine.transition("running");
  }

  /** The step to STOP, where the driver judges what it was given. */
  #judge(): void {
    try {
      this.#machine.transition("stop");
    } catch (error) {
      if (!(error instanceof MigrationError) || error.deviceState !== "resuming") throw error;
      throw this.guard.error(
        `Cannot end the restore: the driver does not take the state (${error.errno}), ` +
          "which may be cut short, or of another device",
        "state-refused",
        error.cause instanceof Error ? error.cause : error,
      );
    }
  }

  override [Symbol.dispose](): void {
    this.#machine.closeData();
  }
}
