/**
 * The v1 protocol on one device: combines registers, data section, state machine, save and restore.
 */

import type { VfioDevice } from "../../vfio/device/device.ts";
import type { QuirkName } from "../../vfio/device/quirk.ts";
import type { Region } from "../../vfio/device/region.ts";
import type { Counters, OnError, PrecopyLimits } from "../protocol/engine.ts";
import { DriverError } from "../protocol/recovery.ts";
import { BaseEngine, type Restore, type Save } from "../protocol/base_engine.ts";
import { V1DataSection } from "./v1_data_section.ts";
import { isV1Target, V1Machine, type V1Target } from "./v1_machine.ts";
import { NO_QUIRK, QUIRKS } from "./v1_quirks.ts";
import { V1Registers } from "./v1_registers.ts";
import { V1Restore } from "./v1_restore.ts";
import { V1Save } from "./v1_save.ts";
import type { Phase } from "../../checkpoint/batches/transaction.ts";
import type { StateName, TargetState } from "../../vfio/state/states.ts";

const PRECOPIED: readonly StateName[] = ["pre-copy", "stop-and-copy"];
const SAVE_FROM: readonly StateName[] = ["running", ...PRECOPIED, "stop"];
const RESTORE_FROM: readonly StateName[] = ["running", "stop", "resuming"];

/** What the v1 protocol needs of a device. */
export interface V1EngineParts {
  /** The device. */
  readonly device: VfioDevice;
  /** Its migration region. */
  readonly region: Region;
  /** The profile of its driver; null for none. */
  readonly quirk: QuirkName | null;
  /** What is done after a failure, unless a call says otherwise. */
  readonly onError: OnError;
  /** The progress that the caller's thread sees. */
  readonly counters: Counters;
}

/** The v1 engine. */
export class V1Engine extends BaseEngine<V1Target> {
  readonly #device: VfioDevice;
  readonly #region: Region;
  readonly #quirk;
  readonly #registers: V1Registers;
  readonly #machine: V1Machine;
  #data: V1DataSection | null = null;
  #save: V1Save | null = null;
  #restore: V1Restore | null = null;

  constructor({ device, region, quirk, onError, counters }: V1EngineParts) {
    const profile = quirk === null ? NO_QUIRK : QUIRKS[quirk];
    const registers = new V1Registers(device.kernel, device.fd.number, Number(region.offset));
    const releaseResources = (): void => this.#releaseResources();
    const machine = new V1Machine({
      registers,
      device,
      quirk: profile,
      onError,
      counters,
      releaseResources,
    });
    super("v1", machine, counters);
    this.#device = device;
    this.#region = region;
    this.#quirk = profile;
    this.#registers = registers;
    this.#machine = machine;
  }

  /** Mapped in the first phase that moves data, and kept for the next. */
  get #section(): V1DataSection {
    const { kernel, fd, notes } = this.#device;
    return this.#data ??= new V1DataSection(kernel, fd.number, this.#region, notes);
  }

  protected override named(target: TargetState): V1Target | null {
    return isV1Target(target) ? target : null;
  }

  protected override savesFrom(_phase: Phase, precopied: boolean): readonly StateName[] {
    return precopied ? PRECOPIED : SAVE_FROM;
  }

  protected override enterSave(
    phase: Phase,
    from: readonly StateName[],
    limits: PrecopyLimits,
  ): Save {
    const { state } = this.counters;
    // How much another process read in pre-copy is not known here.
    const before = state === "running" || state === "stop"
      ? 0
      : from === PRECOPIED
      ? this.#save?.given ?? null
      : null;
    this.#machine.transition(phase, from);
    return this.#save = new V1Save({
      registers: this.#registers,
      data: this.#section,
      region: this.#region,
      quirk: this.#quirk,
      counters: this.counters,
      phase,
      limits,
      notes: this.#device.notes,
      before,
    });
  }

  /** Does nothing: with v1, all state of a save is in the device. */
  override handOver(): void {}

  override checkRestore(): void {
    this.steps.demandState("resuming", this.#machine.state().state, RESTORE_FROM);
  }

  protected override enterRestore(): Restore {
    return this.#restore = new V1Restore(
      this.#registers,
      this.#section,
      Number(this.#region.size),
      this.counters,
    );
  }

  protected override leaveRestore(leave: "running" | "stop"): void {
    if (this.#restore?.inside) {
      throw new DriverError("the last transaction is not whole", "transaction-cut");
    }
    // v1 has no arc from RESUMING to a stopped device.
    this.judge("running");
    if (leave === "stop") this.#machine.transition("stop");
  }

  /** Unmaps the data section until it is needed again. */
  #releaseResources(): void {
    const data = this.#data;
    this.#data = null;
    data?.[Symbol.dispose]();
  }

  override [Symbol.dispose](): void {
    this.#releaseResources();
  }
}
