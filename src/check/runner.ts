/**
 * Runs checks on one or two open devices, one check at a time, synchronously: in a Worker, or on
 * the caller's thread.
 *
 * @module
 */

import { cleanedUp, firstError } from "../base/cleanup.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { VFIO_DEVICE_STATE_MASK } from "../uapi/mod.ts";
import { sleepSync } from "../kernel/process/sleep_sync.ts";
import { SysError } from "../kernel/sys_error.ts";
import { kernelRelease } from "../vfio/reasons/kernel_release.ts";
import { findMigrationRegion, migrationReasons } from "../vfio/device/migration_region.ts";
import { migrationFlagNames, readMigrationFlags } from "../vfio/device/feature.ts";
import { formatDeviceName, parseDeviceName } from "../vfio/open/device_name.ts";
import { type LentFds, lentFds, lentIoas } from "../vfio/open/lent_fds.ts";
import { UnsupportedError } from "../vfio/reasons/unsupported_error.ts";
import { AnswerError } from "../vfio/device/answer_error.ts";
import type { VfioDevice } from "../vfio/device/device.ts";
import { Bench, type BenchOptions } from "./devices/devices_under_check.ts";
import { type DeviceInKernel, devicesInKernels } from "./devices/device_kernel.ts";
import { demandSameKind } from "./devices/same_kind.ts";
import { attempt } from "./attempt.ts";
import { CheckError } from "./check_error.ts";
import { CheckContext } from "./context.ts";
import type { Check } from "./define.ts";
import { type Safety, SAFETY_LEVELS } from "./safety.ts";
import { lack, type Means } from "./_needs.ts";
import { endTrace, MemoryTrace, type SharedTrace, TraceKernel, traceTo } from "../trace/mod.ts";
import { Interruption, WatchedKernels } from "./thread/watched_kernel.ts";
import type { Watch } from "./thread/watch.ts";
import { type SharedConnection, VfioUserKernel } from "../vfio_user/mod.ts";
import type { SecondThread } from "./thread/second_thread.ts";
import {
  REGISTER,
  RESUMING as V1_RESUMING,
  RUNNING as V1_RUNNING,
  V1Device,
  v1StateName,
} from "./v1/v1_device.ts";
import { RESUMING, RUNNING as V2_RUNNING, stateName } from "./v2/states.ts";
import { V2Device } from "./v2/v2_device.ts";
import { Finding, type Verdict } from "./verdict.ts";

/** How devices are checked. */
export interface RunnerOptions extends BenchOptions {
  /** What checks may do. */
  readonly safety: Safety;
  /** Whether a program keeps the device busy. */
  readonly load: boolean;
  /** The data of another kind of device; null if there is none. */
  readonly foreign: Uint8Array<ArrayBuffer> | null;
  /** A trace of every call; absent if there is none. */
  readonly trace?: SharedTrace | undefined;
}

/** What is known of the device under check. Plain data. */
export interface CheckedDevice {
  /** The name it was opened by, or the kernel's name for it. */
  readonly label: string;
  /** The migration protocol; null if the driver describes its regions wrongly. */
  readonly protocol: "v1" | "v2" | null;
  /** The names of its VFIO_MIGRATION_*; null with v1. */
  readonly migrationFlags: readonly string[] | null;
  /** Its driver; null if sysfs does not say. */
  readonly driver: string | null;
  /** The kernel's release, such as `6.12.48`; `sim` for a simulated one. */
  readonly kernel: string;
  /** Whether another program opened it. */
  readonly borrowed: boolean;
  /** Its open fds, for a program that keeps it busy. */
  readonly fds: CheckedFds;
  /** The name of the second device; null if there is none. */
  readonly second: string | null;
}

/** The open fds of a device under check; null if there is none. */
export interface CheckedFds extends LentFds {
  /** The id of its IOAS in the iommufd. */
  readonly ioas: number | null;
}

/** What one check came to. */
export interface CheckAnswer {
  /** The verdict. */
  readonly verdict: Verdict;
  /** The state that the device is left in, if it is not RUNNING; else null. */
  readonly lost: string | null;
  /** The device's open fds, which differ after it was opened again. */
  readonly fds: CheckedFds;
}

/** Why a device cannot be migrated, where that is a mistake in how the driver describes its regions. */
const WRONG_REGIONS: readonly string[] = ["broken-answer", "migration-region-unusable"];

/** How many calls of a check are kept at least. */
const CALLS_KEPT = 1000;

/** What devices are opened on, and how time passes there. */
export interface RunnerEnvironment {
  /** The kernel to open them on; by default the names decide. */
  readonly kernel?: Kernel | undefined;
  /** How a check waits; by default it sleeps. */
  readonly wait?: ((milliseconds: number) => void) | undefined;
}

/** Runs checks on devices that it opens. */
export class Runner implements Disposable {
  /** What is known of the device. */
  readonly device: CheckedDevice;
  readonly #own: Kernel;
  readonly #watched: WatchedKernels;
  readonly #trace: MemoryTrace = new MemoryTrace(CALLS_KEPT);
  /** The kernels whose calls are in the caller's trace, if there is one. */
  readonly #filed: Kernel[] = [];
  readonly #bench: Bench;
  readonly #options: RunnerOptions;
  readonly #means: Means;
  readonly #flags: number;
  #stateAtOpen: number | null;
  readonly #wait: (milliseconds: number) => void;

  /**
   * Opens the devices.
   *
   * @throws {UnsupportedError} If the device has no migration.
   * @throws {CheckError} If it was lent and is not in RUNNING, or the second is of another kind.
   * @throws What opening a device throws.
   */
  constructor(
    names: readonly string[],
    options: RunnerOptions,
    watch: Watch,
    { kernel, wait = sleepSync }: RunnerEnvironment = {},
  ) {
    this.#wait = wait;
    const places = devicesInKernels(names.map(parseDeviceName), kernel);
    this.#own = places[0]!.kernel;
    this.#watched = new WatchedKernels(watch);
    this.#options = options;
    this.#bench = new Bench(this.#traced(places, names), options);
    try {
      const { device, second } = this.#bench;
      const reasons = migrationReasons(device);
      // A driver that describes its regions wrongly can still be judged for that.
      const broken = reasons.some(({ code }) => WRONG_REGIONS.includes(code));
      if (reasons.length > 0 && !broken) throw new UnsupportedError(reasons);
      const region = broken ? null : findMigrationRegion(device);
      const flags = region === null ? readMigrationFlags(device) : null;
      this.#flags = flags ?? 0;
      const protocol = region !== null ? "v1" : flags !== null ? "v2" : null;
      if (second !== null) demandSameKind(device, second);
      this.device = {
        label: device.label,
        protocol,
        migrationFlags: protocol === "v2" ? migrationFlagNames(this.#flags) : null,
        driver: device.sysfs?.driver ?? null,
        kernel: this.#own.name === "sim" ? "sim" : kernelRelease(this.#own) ?? "unknown",
        borrowed: device.borrowed,
        fds: this.#fds(),
        second: second?.label ?? null,
      };
      // Before anything is asked of the device.
      const state = this.#readState();
      const bench = this.#bench;
      this.#means = {
        protocol,
        flags: this.#flags,
        // A check may close the device and open it again.
        get device(): VfioDevice {
          return bench.device;
        },
        resettable: device.resettable || this.#canReset(device),
        closable: this.#bench.closable,
        simulated: this.#own.name === "sim",
        load: options.load,
      };
      this.#stateAtOpen = device.borrowed ? null : state;
      if (device.borrowed && state !== this.#running) {
        throw new CheckError(
          "not-running",
          `Cannot check ${device.label}: it is in ${
            this.#named(state)
          }, and checks begin in RUNNING`,
          "Let the program that opened it bring it to RUNNING",
        );
      }
      this.#bringBack("default");
    } catch (error) {
      throw cleanedUp(error, () => this.#bench.close());
    }
  }

  /** The devices in kernels whose calls are watched and traced: each kernel once. */
  #traced(places: readonly DeviceInKernel[], names: readonly string[]): readonly DeviceInKernel[] {
    const { trace } = this.#options;
    const kernels = new Map<Kernel, Kernel>();
    for (const { kernel } of places) {
      if (kernels.has(kernel)) continue;
      let filed = this.#watched.watched(kernel);
      if (trace !== undefined) {
        const inIt = [...places.keys()].filter((index) => places[index]!.kernel === kernel);
        const given = inIt.map((index) => names[index]).join(" ");
        const own = inIt.map((index) => formatDeviceName(places[index]!.name)).join(" ");
        filed = traceTo(trace, filed, given, own);
      }
      this.#filed.push(filed);
      kernels.set(kernel, new TraceKernel(filed, this.#trace, { thread: kernels.size }));
    }
    return places.map(({ kernel, name }) => ({ kernel: kernels.get(kernel)!, name }));
  }

  get #running(): number {
    return this.device.protocol === "v1" ? V1_RUNNING : V2_RUNNING;
  }

  #named(state: number | null): string {
    if (state === null) return "an unknown state";
    return this.device.protocol === "v1" ? v1StateName(state) : stateName(state);
  }

  /** Whether a device whose flags do not say so can be reset; it is tried where that is permitted. */
  #canReset(device: VfioDevice): boolean {
    if (this.#options.safety === "default") return false;
    return attempt(() => device.reset()).errno === null;
  }

  /** The connection to the device's server, for a second thread; null if it has none. */
  get connection(): SharedConnection | null {
    return this.#own instanceof VfioUserKernel ? this.#own.share() : null;
  }

  /** Why a check is not run; null if it is. */
  whyNot(check: Check): string | null {
    const permitted = SAFETY_LEVELS.indexOf(this.#options.safety);
    if (SAFETY_LEVELS.indexOf(check.safety) > permitted) {
      return `it needs the safety level ${check.safety}`;
    }
    return lack(check.needs, this.#means);
  }

  /** Runs a check, and brings the device back to RUNNING. */
  run(check: Check, secondThread: SecondThread | null = null): CheckAnswer {
    const begun = performance.now();
    this.#trace.take();
    this.#watched.step = "";
    const whyNot = this.whyNot(check);
    const context = this.#context(secondThread);
    const finding = whyNot === null
      ? this.#judge(check, context)
      : new Finding("skip", null, whyNot);
    const { dropped } = this.#trace;
    const calls = this.#trace.take();
    const lost = whyNot === null ? this.#bringBack(this.#options.safety) : null;
    const left = lost === null || finding.outcome === "fail"
      ? finding
      : new Finding("fail", "the device goes back to RUNNING", `it is in ${lost}`);
    return {
      verdict: {
        id: check.id,
        group: check.group,
        safety: check.safety,
        rule: left.rule ?? check.rules[0],
        outcome: left.outcome,
        done: context.done,
        expected: left.expected,
        seen: left.seen === "" ? null : left.seen,
        calls,
        callsLeftOut: dropped,
        milliseconds: performance.now() - begun,
      },
      lost,
      fds: this.#fds(),
    };
  }

  #fds(): CheckedFds {
    const { device } = this.#bench;
    return { ...lentFds(device), ioas: lentIoas(device) };
  }

  #judge(check: Check, context: CheckContext): Finding {
    this.#watched.interruptible = true;
    try {
      check.run(context);
      return context.warnings[0] ?? new Finding("pass", null, "");
    } catch (caught) {
      const error = firstError(caught);
      if (error instanceof Finding) return error;
      if (error instanceof Interruption) {
        return new Finding("unclear", null, "it was interrupted");
      }
      if (error instanceof SysError || error instanceof AnswerError) {
        return new Finding("unclear", null, error.message);
      }
      const { stack, message } = error as Error;
      return new Finding("unclear", null, `the check itself failed: ${stack ?? message}`);
    } finally {
      this.#watched.interruptible = false;
      this.#endParts();
    }
  }

  #parts: { v2: V2Device | null; v1: V1Device | null }[] = [];

  /** Whether a signal reaches the driver: the device's calls are system calls of this thread. */
  get interruptible(): boolean {
    return this.#own.name === "linux" && this.connection === null;
  }

  #context(secondThread: SecondThread | null): CheckContext {
    const steps = { step: (text: string): void => context.step(text) };
    const first = this.#partsOf(() => this.#bench.device, steps);
    const second = this.#bench.second === null
      ? { v1: null, v2: null }
      : this.#partsOf(() => this.#bench.second!, steps);
    this.#parts = [first, second];
    const context: CheckContext = new CheckContext({
      kernel: this.#bench.device.kernel,
      device: () => this.#bench.device,
      v2: first.v2,
      v1: first.v1,
      secondV2: second.v2,
      secondV1: second.v1,
      safety: this.#options.safety,
      foreign: this.#options.foreign,
      secondThread,
      stateAtOpen: this.#stateAtOpen,
      reopen: () => {
        this.#endParts();
        this.#bench.close();
        this.#bench.open();
        this.#stateAtOpen = this.#readState();
      },
      progress: (step) => {
        this.#watched.check();
        this.#watched.step = step;
      },
      wait: this.#wait,
    });
    return context;
  }

  #partsOf(
    device: () => VfioDevice,
    steps: { step(text: string): void },
  ): { v2: V2Device | null; v1: V1Device | null } {
    const { kernel } = device();
    if (this.device.protocol === null) return { v2: null, v1: null };
    if (this.device.protocol === "v2") {
      return { v2: new V2Device(kernel, device, this.#flags, steps), v1: null };
    }
    const region = findMigrationRegion(device());
    return { v2: null, v1: region === null ? null : new V1Device(kernel, device, region, steps) };
  }

  #endParts(): void {
    for (const { v2 } of this.#parts) v2?.closeAll();
  }

  #readState(): number | null {
    const { v2, v1 } = this.#partsOf(() => this.#bench.device, { step: () => {} });
    if (v2 !== null) return v2.get().value?.state ?? null;
    return attempt(() => v1?.state() ?? null).value;
  }

  /** Brings the devices to RUNNING; answers the state of one that does not get there. */
  #bringBack(safety: Safety): string | null {
    const silent = { step: (): void => {} };
    for (const device of [this.#bench.device, this.#bench.second]) {
      if (device === null) continue;
      const { v2, v1 } = this.#partsOf(() => device, silent);
      const machine = v2 ?? v1;
      if (machine === null) continue;
      // Out of RESUMING without a whole state no step leads.
      if (safety !== "default" && this.#isResuming(machine)) machine.reset();
      let state = machine.bringBack();
      if (state !== this.#running && safety !== "default") {
        machine.reset();
        state = machine.bringBack();
      }
      v2?.closeAll();
      if (state !== this.#running) return this.#forgotten(safety) ? null : this.#named(state);
    }
    return null;
  }

  #isResuming(machine: V1Device | V2Device): boolean {
    if (machine instanceof V2Device) return machine.get().value?.state === RESUMING;
    const { value } = machine.read(REGISTER.device_state);
    return value !== null && (Number(value) & VFIO_DEVICE_STATE_MASK) === V1_RESUMING;
  }

  /** The last resort: drivers forget a device's state with its last close. */
  #forgotten(safety: Safety): boolean {
    if (safety === "default" || !this.#bench.closable) return false;
    this.#bench.close();
    this.#bench.open();
    // Some drivers read STOP after an open although the device runs.
    return this.#bringBack("default") === null;
  }

  /** Closes the devices. */
  close(): void {
    for (const kernel of this.#filed) endTrace(kernel);
    this.#bench.close();
  }

  /** Closes, at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.close();
  }
}
