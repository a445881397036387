/**
 * A simulated device: its regions and its state, and how it is opened and reset.
 */

import {
  VFIO_PCI_BAR0_REGION_INDEX,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_NUM_REGIONS,
} from "../../uapi/mod.ts";
import { ConfigSpace } from "./config_space.ts";
import { DoorbellRegion } from "./doorbell.ts";
import { Interrupts } from "./interrupts.ts";
import { MsixTable } from "./msix_table.ts";
import { DeviceDma } from "../dma/device_dma.ts";
import { DeviceState } from "../state/device_state.ts";
import { DmaLog } from "../dma/dma_log.ts";
import { FaultPlan } from "../faults/fault_plan.ts";
import { IceRegion } from "../v1/ice_region.ts";
import { layoutOf } from "../v1/region_layout.ts";
import type { Install, OpenFile } from "../os/open_file.ts";
import { refuse } from "../os/refusal.ts";
import type { DriverDevice } from "../driver/driver_device.ts";
import type { DeviceRegion, MigrationRegion } from "../driver/region.ts";
import { V1Region } from "../v1/v1_region.ts";
import { V2_DRIVERS, type V2Driver } from "../v2_drivers.ts";
import { V2Migration } from "../v2/v2_migration.ts";
import { VendorWindow } from "./vendor_window.ts";
import { PERSONALITIES, type Personality } from "../personalities.ts";
import type { SimSpec } from "../spec.ts";

/** BAR 2. */
const DOORBELL_REGION: number = VFIO_PCI_BAR0_REGION_INDEX + 2;
/** BAR 4. */
const MSIX_REGION: number = VFIO_PCI_BAR0_REGION_INDEX + 4;

/** Violations are counted without limit, but only so many texts are kept. */
const MAX_VIOLATION_TEXTS = 1000;

/** A device of a simulated kernel. */
export class DeviceModel implements DriverDevice {
  /** Its name on its bus. */
  readonly name: string;
  readonly personality: Personality;
  readonly faults: FaultPlan;
  readonly state: DeviceState;
  /** The device's own DMA log; null if it has none. */
  readonly log: DmaLog | null;
  /** The device's DMA. */
  readonly dma: DeviceDma;
  /** The v1 migration region; null if the device has none. */
  readonly migration: MigrationRegion | null;
  /** v2 migration; null if the device has none. */
  readonly v2: V2Migration | null;
  /** The device's interrupts. */
  readonly interrupts: Interrupts;
  /** How the user broke the protocol since the kernel was created, one text each. */
  readonly violations: string[] = [];
  readonly #regions: ReadonlyMap<number, DeviceRegion>;
  readonly #config: ConfigSpace;
  readonly #doorbell: DoorbellRegion | null;
  #violations = 0;
  #opened = 0;
  #gone = false;

  constructor(name: string, spec: SimSpec, number: number, now: () => number) {
    this.name = name;
    this.personality = PERSONALITIES[spec.personality];
    this.faults = new FaultPlan(spec.faults);
    this.state = new DeviceState(spec.size, spec.seed ?? number, spec.rate, now);
    const driver = V2_DRIVERS[spec.personality];
    this.log = logOf(driver, spec);
    this.dma = new DeviceDma({
      spec,
      seed: spec.seed ?? number,
      faults: this.faults,
      log: this.log,
      running: () => this.writesMemory(),
      now,
    });
    const layout = layoutOf(spec);
    this.migration = layout === null
      ? null
      : spec.personality === "ice"
      ? new IceRegion(this, layout)
      : new V1Region(this, layout, spec.reserved, spec.personality === "nvidia-vgpu");
    this.v2 = driver === undefined
      ? null
      : new V2Migration(this, { ...driver, reinits: spec.reinit }, spec.chunk);
    this.interrupts = new Interrupts(spec.doorbell);
    const msix = spec.doorbell ? new MsixTable(MSIX_REGION) : null;
    this.#config = new ConfigSpace(this.personality, this.interrupts, msix);
    this.#doorbell = spec.doorbell
      ? new DoorbellRegion(this.dma.engine, this.interrupts, () => this.writesMemory())
      : null;
    const window = new VendorWindow(() => this.#inside(), () => this.checksum());
    const regions = new Map<number, DeviceRegion>([
      [VFIO_PCI_BAR0_REGION_INDEX, window],
      [VFIO_PCI_CONFIG_REGION_INDEX, this.#config],
    ]);
    if (this.#doorbell !== null) regions.set(DOORBELL_REGION, this.#doorbell);
    if (msix !== null) regions.set(MSIX_REGION, msix);
    if (this.migration !== null) regions.set(VFIO_PCI_NUM_REGIONS, this.migration);
    this.#regions = regions;
  }

  #inside(): {
    violations: number;
    flags: number;
    state_size: bigint;
    device_state: number;
    dirtied_pages: bigint;
  } {
    this.elapse();
    return {
      violations: this.#violations,
      flags: this.state.differs ? 1 : 0,
      state_size: BigInt(this.state.size),
      device_state: this.deviceState ?? 0,
      dirtied_pages: BigInt(this.state.selfDirtied),
    };
  }

  /** The driver's device_state; null if the device does not migrate. */
  get deviceState(): number | null {
    return (this.migration ?? this.v2)?.deviceState ?? null;
  }

  /** Whether the device is open and running. */
  get running(): boolean {
    return this.#opened > 0 && ((this.migration ?? this.v2)?.running ?? true);
  }

  /** Whether its DMA engine writes to memory now. */
  writesMemory(): boolean {
    return this.running;
  }

  elapse(): void {
    this.state.elapse(this.running);
    this.dma.elapse();
  }

  /** Sets the device's clock (milliseconds). */
  useClock(now: () => number): void {
    this.state.useClock(now);
    this.dma.engine.useClock(now);
  }

  /** CRC-32 of the current state. */
  checksum(): number {
    this.elapse();
    return this.state.checksum();
  }

  /** The number of regions, including those of size 0. */
  get numRegions(): number {
    return VFIO_PCI_NUM_REGIONS + (this.migration === null ? 0 : 1);
  }

  /** The region with an index; undefined if the device has none. */
  region(index: number): DeviceRegion | undefined {
    return this.#regions.get(index);
  }

  /** Fails with ENODEV once the device is gone. */
  checkPresent(): void {
    if (this.#gone) refuse("ENODEV");
  }

  /** Whether the device is open. */
  get opened(): boolean {
    return this.#opened > 0;
  }

  /** A file of the device was made, which its user will call. */
  fileMade(_file: OpenFile, _install: Install): void {}

  /** Opens the device. The first open puts it into its initial state. */
  open(): void {
    this.checkPresent();
    this.#opened += 1;
    if (this.#opened > 1) return;
    this.#violations = 0;
    this.state.open();
    this.dma.engine.open();
    this.#config.reset();
    this.interrupts.reset();
    this.#doorbell?.reset();
    this.migration?.open();
    this.v2?.reset();
  }

  /** Closes the device. It keeps its state until it is opened again. */
  close(): void {
    this.elapse();
    this.#opened -= 1;
    if (this.#opened > 0) return;
    this.dma.engine.reset();
    this.log?.stop();
    this.interrupts.close();
    this.v2?.close();
  }

  /** VFIO_DEVICE_RESET. */
  reset(): void {
    for (const { name, errno } of this.faults.due("reset")) {
      if (name === "reset-ignored") return;
      refuse(errno);
    }
    this.state.reset();
    this.dma.engine.reset();
    this.#config.reset();
    this.interrupts.reset();
    this.#doorbell?.reset();
    this.migration?.reset();
    this.v2?.reset();
  }

  violate(how: string): void {
    this.#violations += 1;
    if (this.violations.length < MAX_VIOLATION_TEXTS) this.violations.push(how);
  }

  lose(): never {
    this.#gone = true;
    return refuse("ENODEV");
  }
}

function logOf(driver: V2Driver | undefined, { logPage }: SimSpec): DmaLog | null {
  if (driver === undefined || driver.log === null) return null;
  return new DmaLog({ ...driver.log, leastPage: BigInt(logPage) });
}
