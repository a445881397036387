/**
 * What the `faults` kind tries: devices that fail, an operation, and what comes between.
 */

import type { SaveOptions } from "../../src/transfer/save.ts";
import type { TargetState } from "../../src/vfio/state/states.ts";
import { without } from "./_kind.ts";
import type { Random } from "./_random.ts";
import { makeSpec, smallerSpecs, type Spec } from "./_specs.ts";

/** Where a checkpoint goes, or comes from. */
export type Place =
  /** A regular file. */
  | "file"
  /** A fifo. */
  | "fifo"
  /** A plain stream. */
  | "stream"
  /** A sink or source of the caller's own. */
  | "own";

/** A save, of one device or of several. */
export interface SaveOperation {
  readonly do: "save";
  readonly to: Place;
  readonly options: Pick<SaveOptions, "precopy" | "leave" | "compress" | "digest">;
  /** After so many bytes whoever takes them has had enough; null: never. */
  readonly full: number | null;
}

/** A restore, likewise. */
export interface RestoreOperation {
  readonly do: "restore";
  readonly from: Place;
  readonly leave: "running" | "stop";
  /** The checkpoint was saved with pre-copy. */
  readonly precopy: boolean;
  readonly compress: boolean;
  /** It ends after this share of its bytes. */
  readonly cut: number | null;
}

/** The phases as streams, from the first device to the last. */
export interface PhasesOperation {
  readonly do: "phases";
  readonly precopy: SaveOptions["precopy"] | null;
  readonly leave: "running" | "stop";
  /** After so many transactions the reader cancels; null: never. */
  readonly cancelAfter: number | null;
}

/** One step of a session. */
export type Step =
  | { readonly ask: "setState"; readonly target: TargetState }
  | { readonly ask: "state" | "reset" | "recover" | "handOver" };

/** What a script may ask a device for, one after the other. */
export interface StatesOperation {
  readonly do: "states";
  readonly steps: readonly Step[];
}

/** One step with dirty pages. */
export type DirtyStep =
  | { readonly ask: "start" | "stop" | "read" | "readTwice" | "write" }
  | { readonly ask: "unmap"; readonly map: number };

/** A session that tracks dirty pages. */
export interface DirtyOperation {
  readonly do: "dirty";
  readonly tracker: "type1" | "device" | "iommufd" | "auto";
  readonly via: "cdev" | "group" | "auto";
  /** Pages of each mapping, and of the gap before it. */
  readonly maps: readonly { readonly gap: number; readonly pages: number }[];
  readonly steps: readonly DirtyStep[];
}

/** What is done. */
export type Operation =
  | SaveOperation
  | RestoreOperation
  | PhasesOperation
  | StatesOperation
  | DirtyOperation;

/** What the caller does meanwhile. */
export interface Interruption {
  readonly how: "abort" | "close";
  /** Before so many calls of the kernel; on a thread of its own: before so many messages. */
  readonly at: number;
  /** Which device is closed. */
  readonly device: number;
}

/** All of it. */
export interface FaultsPlan {
  readonly specs: readonly Spec[];
  /** Where devices are served: on this thread, or on threads of their own. */
  readonly host: "inline" | "worker";
  readonly onError: "reset" | "leave";
  readonly operation: Operation;
  readonly interruption: Interruption | null;
}

const TARGETS: readonly TargetState[] = [
  ...["running", "stop", "pre-copy", "stop-and-copy", "resuming"] as const,
  ...["stop-copy", "running-p2p", "pre-copy-p2p"] as const,
];

function makePrecopy(random: Random): NonNullable<SaveOptions["precopy"]> {
  return {
    ...(random.chance(0.3) ? { threshold: random.edge() } : {}),
    ...(random.chance(0.2) ? { downtimeMs: random.pick([0, 1, 300]) } : {}),
    // A driver that always has more is read for that long.
    maxRounds: random.few(1, 8),
    ...(random.chance(0.2) ? { maxTimeMs: random.few(0, 200) } : {}),
  };
}

const LEAVE = ["running", "running", "stop"] as const;
const PLACES: readonly Place[] = ["file", "file", "fifo", "stream", "own"];

function makeOperation(random: Random, devices: number): Operation {
  const roll = random.below(100);
  if (roll < 36) {
    return {
      do: "save",
      to: random.pick(PLACES),
      options: {
        leave: random.pick(LEAVE),
        ...(random.chance(0.5) ? { precopy: makePrecopy(random) } : {}),
        ...(random.chance(0.3) ? { compress: "zstd" } : {}),
        ...(random.chance(0.2) ? { digest: "sha256" } : {}),
      },
      full: random.chance(0.1) ? random.few(0, 100_000) : null,
    };
  }
  if (roll < 64) {
    return {
      do: "restore",
      from: random.pick(PLACES),
      leave: random.pick(LEAVE),
      precopy: random.chance(0.4),
      compress: random.chance(0.3),
      cut: random.chance(0.15) ? random.below(1000) / 1000 : null,
    };
  }
  if (roll < 76) {
    return {
      do: "phases",
      precopy: random.chance(0.5) ? makePrecopy(random) : null,
      leave: random.pick(LEAVE),
      cancelAfter: random.chance(0.3) ? random.few(0, 40) : null,
    };
  }
  if (roll < 88 || devices > 1) {
    const step = (): Step =>
      random.chance(0.6)
        ? { ask: "setState", target: random.pick(TARGETS) }
        : { ask: random.pick(["state", "reset", "recover", "handOver"]) };
    return { do: "states", steps: Array.from({ length: random.few(1, 12) }, step) };
  }
  const maps = Array.from({ length: random.few(1, 5) }, () => ({
    gap: random.few(0, 40),
    pages: random.few(1, 80),
  }));
  const step = (): DirtyStep =>
    random.chance(0.25)
      ? { ask: "unmap", map: random.below(maps.length) }
      : { ask: random.pick(["start", "start", "stop", "read", "readTwice", "write"]) };
  return {
    do: "dirty",
    tracker: random.pick(["type1", "device", "iommufd", "auto"]),
    via: random.pick(["cdev", "group", "auto"]),
    maps,
    steps: Array.from({ length: random.few(1, 10) }, step),
  };
}

/** A random plan. */
export function makePlan(random: Random): FaultsPlan {
  const count = random.chance(0.6) ? 1 : random.few(2, 4);
  const cdev = random.chance(0.3);
  const specs = Array.from({ length: count }, () => makeSpec(random, { cdev }));
  return {
    specs,
    host: random.chance(0.3) ? "worker" : "inline",
    onError: random.chance(0.2) ? "leave" : "reset",
    operation: makeOperation(random, count),
    interruption: random.chance(0.35)
      ? {
        how: random.pick(["abort", "close"]),
        at: random.few(1, 400),
        device: random.below(count),
      }
      : null,
  };
}

/** Plans with less in them. */
export function* smallerPlans(plan: FaultsPlan): Generator<FaultsPlan> {
  const { specs, operation, interruption } = plan;
  if (interruption !== null) yield { ...plan, interruption: null };
  if (specs.length > 1) {
    for (const fewer of without(specs)) {
      if (fewer.length === 0) continue;
      const device = Math.min(interruption?.device ?? 0, fewer.length - 1);
      const moved = interruption === null ? null : { ...interruption, device };
      yield { ...plan, specs: fewer, interruption: moved };
    }
  }
  for (const [index, spec] of specs.entries()) {
    for (const smaller of smallerSpecs(spec)) yield { ...plan, specs: specs.with(index, smaller) };
  }
  if (plan.host === "worker") yield { ...plan, host: "inline" };
  if (plan.onError === "leave") yield { ...plan, onError: "reset" };
  for (const smaller of smallerOperations(operation)) yield { ...plan, operation: smaller };
}

function* smallerOperations(operation: Operation): Generator<Operation> {
  switch (operation.do) {
    case "save": {
      const { precopy, compress, digest, ...options } = operation.options;
      if (operation.full !== null) yield { ...operation, full: null };
      if (operation.to !== "own") yield { ...operation, to: "own" };
      if (precopy !== undefined) yield { ...operation, options };
      if (precopy !== undefined) yield { ...operation, options: { ...options, precopy: {} } };
      if ((compress ?? digest) !== undefined) {
        yield { ...operation, options: { ...options, ...(precopy ? { precopy } : {}) } };
      }
      return;
    }
    case "restore":
      if (operation.cut !== null) yield { ...operation, cut: null };
      if (operation.from !== "own") yield { ...operation, from: "own" };
      if (operation.precopy) yield { ...operation, precopy: false };
      if (operation.compress) yield { ...operation, compress: false };
      return;
    case "phases":
      if (operation.cancelAfter !== null) yield { ...operation, cancelAfter: null };
      if (operation.precopy !== null) yield { ...operation, precopy: null };
      return;
    case "states":
      for (const steps of without(operation.steps)) yield { ...operation, steps };
      return;
    case "dirty":
      for (const steps of without(operation.steps)) yield { ...operation, steps };
      for (const maps of without(operation.maps)) {
        const known = operation.steps.every((step) =>
          step.ask !== "unmap" || step.map < maps.length
        );
        if (maps.length > 0 && known) yield { ...operation, maps };
      }
      return;
  }
}
