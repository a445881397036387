/**
 * What the two threads say to each other.
 */

import type { DirtyReading, ReadOptions, UnmapReading } from "../../dirty/mod.ts";
import type { IovaMapping } from "../../vfio/dma/iova.ts";
import type { DriverNote } from "../../vfio/notes/driver_notes.ts";
import type { DeviceDescription, DeviceTimes, OpenOptions, PulledBatch } from "./session.ts";
import type { FilledBatch } from "../../checkpoint/batches/batch_builder.ts";
import type { FrameTarget } from "../../checkpoint/pipeline/frame_producer.ts";
import type { RingMemory } from "../../checkpoint/pipeline/ring.ts";
import type { PageScanOptions, PagesDue, PageTurn } from "../memory/page_scan.ts";
import type { ReceiveRequest, ReceiveTurn, SendRequest, SendTurn } from "../memory/page_socket.ts";
import type { Turn } from "./frame_turns.ts";
import type { OnError, PrecopyLimits, RecoveryMode } from "../protocol/engine.ts";
import type { TransferredError } from "../../base/error_transfer.ts";
import type { Recovery } from "../../vfio/state/recovery.ts";
import type { NotedStateReport, StateName, TargetState } from "../../vfio/state/states.ts";
import type { Phase } from "../../checkpoint/batches/transaction.ts";

type Buffer = Uint8Array<ArrayBuffer>;

/** Each request's arguments and answer. */
export interface Requests {
  open: (name: string, options: OpenOptions, counters: SharedArrayBuffer) => DeviceDescription;
  state: () => NotedStateReport;
  setState: (
    target: TargetState,
    onError?: OnError | "nothing",
    from?: readonly StateName[],
  ) => NotedStateReport;
  reset: () => NotedStateReport | null;
  recover: (mode?: RecoveryMode) => Recovery;
  share: () => void;
  times: () => DeviceTimes;
  readRegion: (index: number, offset: number, length: number) => Buffer;
  readMemory: (iova: bigint, length: number) => Buffer;
  writeMemory: (iova: bigint, bytes: Uint8Array) => void;
  startTracking: () => void;
  stopTracking: () => void;
  readDirty: (options: ReadOptions) => DirtyReading;
  unmapWithDirty: (iova: bigint, size: bigint) => UnmapReading;
  beginPages: (options: Omit<PageScanOptions, "tracker">) => number;
  addPages: (
    what: "all" | "dirty" | readonly IovaMapping[],
    scan: number,
    last: boolean,
  ) => PagesDue;
  fillPages: (slot: ArrayBuffer, stream: number) => PageTurn;
  sendPages: (request: SendRequest) => SendTurn;
  receivePages: (request: ReceiveRequest) => ReceiveTurn;
  storePages: (slot: ArrayBuffer, metaLength: number, bodyLength: number) => ArrayBuffer;
  hashPages: (iova: bigint, size: bigint) => Buffer;
  checkSave: (phase: Phase) => void;
  beginSave: (phase: Phase, limits: PrecopyLimits) => void;
  pull: (buffer: Buffer) => PulledBatch;
  fill: (target: FrameTarget, phase: Phase, waitMs: number) => Turn;
  handOver: () => void;
  checkRestore: () => void;
  beginRestore: () => void;
  push: (batch: FilledBatch<ArrayBuffer>) => void;
  take: (ring: RingMemory, waitMs: number) => Turn;
  endRestore: (leave: "running" | "stop") => void;
  close: () => void;
}

/** A request's name. */
export type RequestName = keyof Requests;

/** A request as it is posted; its buffer, where it has one, goes along. */
export interface SessionRequest {
  readonly method: RequestName;
  readonly args: readonly unknown[];
}

/** The buffer that goes over with a request, and comes back with its answer. */
export function transferredBuffer({ method, args }: SessionRequest): ArrayBuffer | null {
  if (method === "pull") return (args[0] as Buffer).buffer;
  if (method === "fillPages" || method === "storePages") return args[0] as ArrayBuffer;
  if (method === "push") return (args[0] as FilledBatch<ArrayBuffer>).bytes.buffer;
  return null;
}

/** What goes with every answer. */
interface AnswerParts {
  /** The buffer that came with the request. */
  readonly buffer: ArrayBuffer | null;
  /** What the driver did against the rules since the last answer. */
  readonly notes: readonly DriverNote[];
}

/** An answer as it is posted: in the order of the requests. */
export type SessionAnswer =
  & AnswerParts
  & (
    | { readonly ok: true; readonly value: unknown }
    | { readonly ok: false; readonly error: TransferredError }
  );
