/**
 * One open device and its engine, synchronously: what runs in the Worker, or,
 * if the caller passes a Kernel, on the caller's thread.
 */

import { cleanedUp, cleanlyThen } from "../../base/cleanup.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import {
  DeviceMemory,
  type DirtyReading,
  DirtySession,
  type DirtyTracker,
  MappedDevice,
  type MemoryOptions,
  type ReadOptions,
  type SessionMapping,
  type TrackerName,
  type UnmapReading,
} from "../../dirty/mod.ts";
import type { IovaMapping } from "../../vfio/dma/iova.ts";
import { VFIO_MIGRATION_P2P, VFIO_MIGRATION_PRE_COPY } from "../../uapi/constants.ts";
import type { VfioDevice } from "../../vfio/device/device.ts";
import type { DriverNote } from "../../vfio/notes/driver_notes.ts";
import { parseDeviceName } from "../../vfio/open/device_name.ts";
import { kernelOf } from "../../vfio/open/kernel_for.ts";
import { type LentFds, lentFds, lentIoas } from "../../vfio/open/lent_fds.ts";
import { noteMigrationFlags, readMigrationFlags } from "../../vfio/device/feature.ts";
import { endTrace, type SharedTrace } from "../../trace/mod.ts";
import { openVfioDevice, type OpenVfioOptions } from "../../vfio/open/open.ts";
import {
  type DataSectionKind,
  dataSectionKind,
  findMigrationRegion,
  migrationReasons,
  noteSparseAreas,
} from "../../vfio/device/migration_region.ts";
import { quirkFor, type QuirkName } from "../../vfio/device/quirk.ts";
import { type Reason, UnsupportedError } from "../../vfio/reasons/unsupported_error.ts";
import { BatchBuilder, type FilledBatch } from "../../checkpoint/batches/batch_builder.ts";
import type { FrameTarget } from "../../checkpoint/pipeline/frame_producer.ts";
import type { RingMemory } from "../../checkpoint/pipeline/ring.ts";
import {
  hashesOf,
  PageScan,
  type PageScanOptions,
  type PagesDue,
  type PageTurn,
  storePages,
} from "../memory/page_scan.ts";
import {
  PageReceiver,
  PageSender,
  type ReceiveRequest,
  type ReceiveTurn,
  type SendRequest,
  type SendTurn,
} from "../memory/page_socket.ts";
import { fillTurn, type SavedPhase, takeTurn, type Turn } from "./frame_turns.ts";
import type { PrecopyReport } from "../../vfio/state/precopy_report.ts";
import { standstill, type StateChange } from "../../vfio/state/standstill.ts";
import type { Engine, OnError, PrecopyLimits, RecoveryMode } from "../protocol/engine.ts";
import { DataFdHandover, type DataFdSockets } from "../v2/data_fd_handover.ts";
import { RegionIo } from "../protocol/data_io.ts";
import { resetPatiently } from "../protocol/reset.ts";
import type { SharedCounters } from "./shared_counters.ts";
import { V1Engine } from "../v1/v1_engine.ts";
import { V2Engine } from "../v2/v2_engine.ts";
import type { Recovery } from "../../vfio/state/recovery.ts";
import type { DeviceIdentity } from "../../checkpoint/metadata/device_identity.ts";
import type {
  NotedStateReport,
  Protocol,
  StateName,
  StateReport,
  TargetState,
} from "../../vfio/state/states.ts";
import type { Phase } from "../../checkpoint/batches/transaction.ts";

/** How to open a device, and how to drive it. */
export interface OpenOptions extends OpenVfioOptions, MemoryOptions {
  /**
   * Tracks the pages that the device dirties, by this tracker or the best one (`auto`); see
   * `Device.dirty`. By default no tracker is made.
   */
  readonly tracker?: TrackerName | "auto" | undefined;
  /**
   * The fd of a channel to a server of the device (`vfiokit/server`), which is reached
   * through it. The channel of a device that was lent as `fd:N` is found without this.
   */
  readonly channel?: number | undefined;
  /** v2: where the data fd is handed from one process to the next. */
  readonly dataFdSockets?: DataFdSockets | undefined;
  /** Treats the driver as this one; by default the driver's name decides. */
  readonly quirk?: QuirkName | undefined;
  /** What a failed step does with a device that no arc leads back: `reset` by default. */
  readonly onError?: OnError | undefined;
  /** Where to report each call to the kernel. */
  readonly trace?: SharedTrace | undefined;
}

/** Which tracker a device has. */
export interface TrackerDescription {
  /** The kind of tracker. */
  readonly name: TrackerName;
  /** Why this tracker was chosen, as text; null if the caller named it. */
  readonly reason: string | null;
  /** Bytes per bit of the bitmap. */
  readonly pgsize: number;
}

/** The memory of a device's DMA. */
export interface MemoryDescription {
  /** The fd by which all of it can be mapped; null if there is none. */
  readonly fd: number | null;
  /** Which part of it is at which IOVA, by ascending iova. */
  readonly mappings: readonly SessionMapping[];
}

/** What is known of an open device. */
export interface DeviceDescription {
  /** The name it was opened by, or the kernel's own name for it. */
  readonly label: string;
  /** How it migrates; null if it does not. */
  readonly protocol: Protocol | null;
  /** What it is; null if it does not migrate. */
  readonly identity: DeviceIdentity | null;
  /** The open fds, for a child to inherit. */
  readonly fds: LentFds;
  /** The memory that was allocated for its DMA; null if there is none. */
  readonly memory: MemoryDescription | null;
  /** The ranges that its DMA reaches, as far as they are known, by ascending iova. */
  readonly mappings: readonly IovaMapping[];
  /** The tracker of its dirty pages; null if none was asked for. */
  readonly tracker: TrackerDescription | null;
  /** The IOAS in that iommufd which the device is attached to; null if there is none. */
  readonly ioas: number | null;
  /** How a v1 device's data is reached; null if there is no migration region. */
  readonly dataSection: DataSectionKind | null;
  /** Whether it can give its state while it runs. */
  readonly precopy: boolean;
  /** Whether it has the P2P states, in which it begins no DMA to other devices and still takes theirs. */
  readonly p2p: boolean;
  /** The quirk profile in force. */
  readonly quirk: QuirkName | null;
  /** Whether another process or other code opened it. */
  readonly borrowed: boolean;
}

/** What an open device did, and when. */
export interface DeviceTimes {
  /** The latest changes of its state. */
  readonly changes: readonly StateChange[];
  /** How the pre-copy of the last save went; null without one. */
  readonly precopy: PrecopyReport | null;
}

/** A pull's answer. */
export interface PulledBatch {
  /** What was read; may be empty at the end of a phase. */
  readonly batch: FilledBatch<ArrayBuffer>;
  /** Whether the phase has ended. */
  readonly ended: boolean;
}

/** One open device. */
export class DeviceSession implements Disposable {
  readonly #kernel: Kernel;
  /** The device with its memory, if it has some; else the device. */
  readonly #opened: VfioDevice | MappedDevice | DirtySession;
  readonly #device: VfioDevice;
  /** What finds the memory that is to be sent, once that was asked for. */
  #scan: PageScan | null = null;
  #sender: PageSender | null = null;
  #receiver: PageReceiver | null = null;
  /** How many scans there were. */
  #scans = 0;
  readonly #engine: Engine | null;
  /** Why there is no engine. */
  readonly #reasons: readonly Reason[];
  /** What the caller's thread sees of it. */
  readonly #counters: SharedCounters;
  /** What the device is. */
  readonly description: DeviceDescription;

  /** Opens a device. */
  constructor(
    name: string,
    options: OpenOptions,
    counters: SharedCounters,
    kernel?: Kernel,
  ) {
    this.#counters = counters;
    const parsed = parseDeviceName(name);
    this.#kernel = kernelOf(parsed, {
      kernel,
      trace: options.trace,
      channel: options.channel,
    });
    try {
      this.#opened = this.#open(name, options);
      this.#device = "device" in this.#opened ? this.#opened.device : this.#opened;
    } catch (error) {
      throw cleanedUp(error, () => endTrace(this.#kernel));
    }
    try {
      const onError = options.onError ?? "reset";
      const reasons = migrationReasons(this.#device);
      const region = reasons.length === 0 ? findMigrationRegion(this.#device) : null;
      const flags = region === null ? readMigrationFlags(this.#device) : null;
      if (region !== null) noteSparseAreas(region, this.#device.notes);
      if (flags !== null) noteMigrationFlags(flags, this.#device.notes);
      const known = this.#device.identity();
      const quirk = region === null ? null : options.quirk ?? quirkFor(known);
      this.#engine = region !== null
        ? new V1Engine({ device: this.#device, region, quirk, onError, counters })
        : flags !== null
        ? new V2Engine({
          device: this.#device,
          flags,
          handover: this.#handover(options),
          onError,
          counters,
        })
        : null;
      this.#reasons = reasons;
      const protocol = region !== null ? "v1" : flags !== null ? "v2" : null;
      const { group, container, ioas, borrowed, label } = this.#device;
      this.description = {
        label,
        protocol,
        identity: protocol === null ? null : { protocol, ...known, region: region?.type ?? null },
        fds: lentFds(this.#device),
        memory: this.#describeMemory(),
        mappings: this.#device.space?.mappings.map(({ iova, size }) => ({ iova, size })) ?? [],
        tracker: this.#describeTracker(),
        ioas: lentIoas(this.#device),
        dataSection: region === null ? null : dataSectionKind(region),
        precopy: region !== null || ((flags ?? 0) & VFIO_MIGRATION_PRE_COPY) !== 0,
        p2p: ((flags ?? 0) & VFIO_MIGRATION_P2P) !== 0,
        quirk,
        borrowed,
      };
      // A Kernel that the caller passed has fds that only it knows.
      if (kernel === undefined && parsed.kind !== "sim" && parsed.kind !== "replay") {
        const memory = this.#memory?.memory?.fd;
        const fds = [this.#device.fd, group?.fd, container?.fd, ioas?.iommufd.fd, memory];
        counters.ownedFds = fds
          .flatMap((fd) => fd?.owned === true ? [fd.number] : []);
      }
    } catch (error) {
      throw cleanedUp(error, () => this.#closeDevice());
    }
  }

  #open(name: string, options: OpenOptions): VfioDevice | MappedDevice | DirtySession {
    const { maps = [], mappings = [], tracker } = options;
    const own = { ...options, kernel: this.#kernel, trace: undefined };
    if (tracker !== undefined) return DirtySession.open(name, { ...own, tracker });
    if (maps.length + mappings.length > 0) return MappedDevice.open(name, own);
    return openVfioDevice(this.#kernel, parseDeviceName(name), options);
  }

  /** The device's memory; null if it was opened without. */
  get #memory(): MappedDevice | DirtySession | null {
    return "device" in this.#opened ? this.#opened : null;
  }

  #describeMemory(): MemoryDescription | null {
    const memory = this.#memory;
    if (memory === null || memory.memory === null) return null;
    const mappings = memory.mapped.map(({ iova, size, offset }) => ({ iova, size, offset }));
    return { fd: memory.memory.fd?.number ?? null, mappings };
  }

  #describeTracker(): TrackerDescription | null {
    if (!(this.#opened instanceof DirtySession)) return null;
    const { tracker: { name, pgsize }, trackerReason } = this.#opened;
    return { name, pgsize, reason: trackerReason };
  }

  #handover({ dataFdSockets }: OpenOptions): DataFdHandover | null {
    return dataFdSockets === undefined
      ? null
      : new DataFdHandover(this.#device.kernel, dataFdSockets);
  }

  get #migration(): Engine {
    if (this.#engine === null) throw new UnsupportedError(this.#reasons);
    return this.#engine;
  }

  /** When the device changed its state, and how pre-copy went. */
  times(): DeviceTimes {
    const { changes } = this.#counters.times;
    return { changes: [...changes], precopy: this.#engine?.precopyReport ?? null };
  }

  /** Reads the state. */
  state(): NotedStateReport {
    return this.#noted(this.#migration.state());
  }

  #noted(report: StateReport): NotedStateReport {
    return { ...report, notes: this.#device.notes.list() };
  }

  /** Asks for a state, where `from` is given out of one of those. */
  setState(
    target: TargetState,
    onError?: OnError | "nothing",
    from?: readonly StateName[],
  ): NotedStateReport {
    return this.#noted(this.#migration.transition(target, onError, from));
  }

  /** Resets; a device that does not migrate can be reset too, and answers null. */
  reset(): NotedStateReport | null {
    if (this.#engine !== null) return this.#noted(this.#engine.reset());
    resetPatiently(this.#device, () => this.#counters.interrupted);
    return null;
  }

  /**
   * Brings the device back to RUNNING. Says what was done since the last phase
   * began: a step that failed, or a stream that was cancelled, may have done it before.
   */
  recover(mode?: RecoveryMode): Recovery {
    return this.#migration.recover(mode);
  }

  /** From now on another device shares its group or iommufd. */
  share(): void {
    this.#device.share();
  }

  /** Reads from a region. */
  readRegion(index: number, offset: number, length: number): Uint8Array<ArrayBuffer> {
    const region = this.#device.region(index);
    if (offset < 0 || BigInt(offset + length) > region.size) {
      throw new RangeError(
        `Cannot read bytes ${offset} to ${
          offset + length
        } of region ${index}: it has ${region.size}`,
      );
    }
    const bytes = new Uint8Array(new ArrayBuffer(length));
    const { kernel, fd, notes } = this.#device;
    new RegionIo(kernel, fd.number, notes).preadFull(bytes, Number(region.offset) + offset);
    return bytes;
  }

  get #contents(): DeviceMemory {
    return this.#memory?.contents ?? new DeviceMemory([]);
  }

  /** Reads from the device's memory. */
  readMemory(iova: bigint, length: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(new ArrayBuffer(length));
    this.#contents.read(iova, bytes);
    return bytes;
  }

  /** Writes to the device's memory. */
  writeMemory(iova: bigint, bytes: Uint8Array): void {
    this.#contents.write(iova, bytes);
  }

  /** Begins to send memory, of which nothing was sent before; returns the number of the scan. */
  beginPages(options: Omit<PageScanOptions, "tracker">): number {
    const tracker = this.#opened instanceof DirtySession ? this.#opened.tracker : null;
    this.#scans += 1;
    this.#scan = new PageScan(this.#contents, { ...options, tracker });
    this.#sender = new PageSender(this.#scan);
    return this.#scans;
  }

  /** Adds memory that is to be sent; `last` says that nothing is added after it. */
  addPages(
    what: "all" | "dirty" | readonly IovaMapping[],
    scan: number,
    last: boolean,
  ): PagesDue {
    if (scan !== this.#scans) {
      throw new TypeError("Cannot send memory: it was begun to be sent elsewhere since");
    }
    return this.#scan!.add(what, last);
  }

  /** Makes a frame of memory that is to be sent by a stream. */
  fillPages(slot: ArrayBuffer, stream: number): PageTurn {
    if (this.#scan === null) throw new TypeError("Cannot send memory: nothing was added");
    return this.#scan.fill(slot, stream);
  }

  /** Sends memory that is to be sent by a stream. */
  sendPages(request: SendRequest): SendTurn {
    if (this.#sender === null) throw new TypeError("Cannot send memory: nothing was added");
    return this.#sender.send(request);
  }

  /** Receives and stores memory that is sent by a stream. */
  receivePages(request: ReceiveRequest): ReceiveTurn {
    return (this.#receiver ??= new PageReceiver(this.#contents)).receive(request);
  }

  /** Takes memory that was sent; returns the slot. */
  storePages(slot: ArrayBuffer, metaLength: number, bodyLength: number): ArrayBuffer {
    storePages(this.#contents, slot, metaLength, bodyLength);
    return slot;
  }

  /** The hashes of memory as it is now. */
  hashPages(iova: bigint, size: bigint): Uint8Array<ArrayBuffer> {
    return hashesOf(this.#contents, { iova, size });
  }

  get #tracker(): DirtyTracker {
    if (this.#opened instanceof DirtySession) return this.#opened.tracker;
    throw new TypeError(`Cannot track dirty pages: ${this.#device.label} has no tracker`);
  }

  /** Starts tracking. */
  startTracking(): void {
    this.#tracker.start();
  }

  /** Stops tracking. */
  stopTracking(): void {
    this.#tracker.stop();
  }

  /** Reads dirty pages. */
  readDirty(options: ReadOptions): DirtyReading {
    return this.#tracker.read(options);
  }

  /** Unmaps, and reads the last dirty pages. */
  unmapWithDirty(iova: bigint, size: bigint): UnmapReading {
    return this.#tracker.unmapWithDirty(iova, size);
  }

  /** Refuses a phase that cannot begin now; the device is not touched. */
  checkSave(phase: Phase): void {
    this.#migration.checkSave(phase);
  }

  /** Enters a phase that yields data. */
  beginSave(phase: Phase, limits: PrecopyLimits): void {
    this.#migration.beginSave(phase, limits);
  }

  /** Fills `buffer` with a batch. */
  pull(buffer: Uint8Array<ArrayBuffer>): PulledBatch {
    const builder = new BatchBuilder(buffer);
    const ended = this.#migration.fill(builder);
    return { batch: builder.build(), ended };
  }

  /** Reads the phase under way into a ring, for a turn. */
  fill(
    target: FrameTarget,
    phase: Phase,
    waitMs: number,
  ): Exclude<Turn, "ended"> | SavedPhase {
    const endedPhase = (): SavedPhase => this.#savedPhase(phase);
    const driver = { engine: this.#migration, counters: this.#counters, endedPhase };
    return fillTurn(driver, target, phase, waitMs);
  }

  #savedPhase(phase: Phase): SavedPhase {
    const { phaseTime, precopyReport } = this.#migration;
    const { begun, ended } = phaseTime;
    const precopy = phase === "pre-copy" ? precopyReport : null;
    const stopped = phase === "pre-copy" ? null : standstill(this.#counters.times.changes);
    const downtime = stopped?.parts ?? [];
    return { phase, begun, ended, seconds: (ended - begun) / 1000, precopy, downtime };
  }

  /** Lets another process go on with what was begun. */
  handOver(): void {
    this.#migration.handOver();
  }

  /** Refuses a restore that cannot begin now; the device is not touched. */
  checkRestore(): void {
    this.#migration.checkRestore();
  }

  /** Enters RESUMING. */
  beginRestore(): void {
    this.#migration.beginRestore();
  }

  /** Gives a batch to the device. */
  push(batch: FilledBatch): void {
    this.#migration.load(batch);
  }

  /** Gives the device what comes in a ring, for a turn. */
  take(ring: RingMemory, waitMs: number): Turn {
    return takeTurn({ engine: this.#migration, counters: this.#counters }, ring, waitMs);
  }

  /** Leaves RESUMING. */
  endRestore(leave: "running" | "stop"): void {
    this.#migration.endRestore(leave);
  }

  /** What the driver did against the rules since this was last asked. */
  takeNotes(): readonly DriverNote[] {
    return this.#device.notes.take();
  }

  /** Closes what is owned. */
  close(): void {
    this.#counters.takeOwnedFds();
    cleanlyThen(() => this.#engine?.[Symbol.dispose](), () => this.#closeDevice());
  }

  #closeDevice(): void {
    cleanlyThen(() => this.#opened.close(), () => endTrace(this.#kernel));
  }

  /** Closes, at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.close();
  }
}
