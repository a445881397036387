/**
 * The report of save and restore, as JSON and as text.
 *
 * @module
 */

import process from "node:process";
import {
  type Device,
  type DriverNote,
  type Recovery,
  type StateName,
  TransferError,
  type TransferReport,
} from "../../mod.ts";
import type { Protocol } from "../../src/vfio/mod.ts";
import type { Context } from "../context.ts";
import { bytes, count, rate, time } from "./format.ts";
import { table } from "./table.ts";
import type { CommonArgs } from "../specs/command.ts";
import { UsageError } from "../usage_error.ts";

/**
 * Refuses to write a checkpoint to a stdout that is a terminal.
 *
 * @throws {UsageError} If it is one.
 */
export function refuseTerminal(): void {
  if (process.stdout.isTTY) {
    throw new UsageError("Cannot write the checkpoint to a terminal: name a file, or use a pipe");
  }
}

/**
 * Refuses a stdin that is a terminal, if a checkpoint is to come from it.
 *
 * @throws {UsageError} If it is one.
 */
export function refuseTerminalInput(): void {
  if (process.stdin.isTTY) {
    throw new UsageError("Cannot read the checkpoint from a terminal: name a file, or use a pipe");
  }
}

/**
 * Refuses a stdout that cannot be a checkpoint.
 *
 * @throws {UsageError} If JSON goes there, too, or if it is a terminal.
 */
export function refuseStdout({ json, jsonFile }: Pick<CommonArgs, "json" | "jsonFile">): void {
  if (json && jsonFile === undefined) {
    throw new UsageError("Cannot print JSON: with -o - stdout is the checkpoint; use --json=FILE");
  }
  refuseTerminal();
}

/** Each device in the JSON document; every key is present from the start. */
interface DeviceEntry {
  readonly name: string;
  readonly protocol: Protocol | null;
  /** Whether its DMA to the other devices can be held back. */
  readonly p2p: boolean | null;
  readonly state: StateName | null;
  /** How it was recovered after a failure. */
  readonly recovery: Recovery | null;
  readonly transactions: number;
  readonly bytes: number;
  readonly phases: TransferReport["phases"];
  /** How long it stood still, and where that time went. */
  readonly downtime: TransferReport["devices"][number]["downtime"];
  /** How pre-copy went. */
  readonly precopy: TransferReport["devices"][number]["precopy"];
  /** The notes about its driver. */
  readonly notes: readonly DriverNote[];
  /** What went wrong with it; null if nothing did. */
  readonly error: string | null;
}

const UNKNOWN = {
  protocol: null,
  p2p: null,
  state: null,
  recovery: null,
  transactions: 0,
  bytes: 0,
  phases: [],
  downtime: null,
  precopy: null,
  notes: [],
  error: null,
} as const;

/** The document at the start. */
export function startDocument(context: Context, names: readonly string[]): void {
  context.set({
    device: names.length === 1 ? names[0] : null,
    protocol: null,
    state: null,
    transactions: 0,
    bytes: 0,
    seconds: 0,
    bytesPerSecond: null,
    downtimeSeconds: null,
    phases: [],
    notes: [],
    devices: names.map((name): DeviceEntry => ({ name, ...UNKNOWN })),
  });
}

/** The value that all share; null if they differ. */
function common<Value>(values: readonly Value[]): Value | null {
  return values.every((value) => value === values[0]) ? values[0] ?? null : null;
}

/** Adds the result. */
export function reportDocument(
  context: Context,
  devices: readonly Device[],
  report: TransferReport,
): void {
  const { transactions, bytes, seconds, phases } = report;
  context.set({
    protocol: common(devices.map(({ description }) => description.protocol)),
    state: report.state,
    transactions,
    bytes,
    seconds,
    bytesPerSecond: seconds > 0 ? Math.round(bytes / seconds) : null,
    downtimeSeconds: report.downtimeSeconds,
    phases,
    devices: report.devices.map((each, index): DeviceEntry => ({
      name: each.name,
      protocol: devices[index]!.description.protocol,
      p2p: each.p2p,
      state: each.state,
      recovery: "none",
      transactions: each.transactions,
      bytes: each.bytes,
      phases: each.phases,
      downtime: each.downtime,
      precopy: each.precopy,
      notes: devices[index]!.notes,
      error: null,
    })),
  });
}

/** Adds how far a failed run got, and the state of each device. */
export function failedDocument(
  context: Context,
  devices: readonly Device[],
  error: unknown,
): void {
  const entries = devices.map((device, index): DeviceEntry => {
    const { name, description: { protocol, p2p } } = device;
    const { transactions, bytes, state } = device.progress();
    const left = error instanceof TransferError
      ? error.devices[index]!
      : { state, recovery: "none" as const, error };
    const why = left.error instanceof Error ? left.error.message : null;
    return {
      name,
      ...UNKNOWN,
      protocol,
      p2p,
      state: left.state,
      recovery: left.recovery,
      transactions,
      bytes,
      notes: device.notes,
      error: why,
    };
  });
  context.set({
    protocol: common(entries.map(({ protocol }) => protocol)),
    state: common(entries.map(({ state }) => state)),
    transactions: entries.reduce((sum, { transactions }) => sum + transactions, 0),
    bytes: entries.reduce((sum, { bytes }) => sum + bytes, 0),
    devices: entries,
  });
}

/** The result in one line. */
export function summary(
  report: Pick<TransferReport, "transactions" | "bytes" | "seconds">,
): string {
  const { transactions, bytes: moved, seconds } = report;
  return `${bytes(moved)} in ${count(transactions, "transaction")}, ${time(seconds)} ` +
    `(${rate(moved, seconds)})`;
}

/** What was saved or restored: the name of a single device, else the number of devices. */
export function whom(names: readonly string[]): string {
  return names.length === 1 ? names[0]! : `${names.length} devices`;
}

/** The states of the devices. */
export function stateLine({ devices, state }: TransferReport): string {
  if (devices.length === 1) return `The device is in state ${state}.`;
  return state === null
    ? `The devices are in states ${devices.map((device) => device.state).join(", ")}.`
    : `The devices are in state ${state}.`;
}

/** Reports the devices whose DMA to the others cannot be held back. */
export function noteP2p(devices: readonly Device[], context: Context): void {
  if (devices.length === 1) return;
  for (const { name, description: { p2p, protocol } } of devices) {
    if (p2p || protocol === null) continue;
    context.note(`${name} has no P2P states: its DMA to the other devices cannot be held back.`);
  }
}

/** Each phase in a table; for several devices, one per device. */
export function phaseTable(
  report: Pick<TransferReport, "phases"> & Partial<TransferReport>,
): string[] {
  const { phases, devices = [] } = report;
  const right = "right" as const;
  const several = devices.length > 1;
  const rows = several
    ? devices.flatMap(({ name, phases }, number) =>
      phases.map((phase) => ({ of: [`${number} ${name}`], phase }))
    )
    : phases.map((phase) => ({ of: [], phase }));
  return table(
    [
      ...(several ? [{ head: "device" }] : []),
      { head: "phase" },
      { head: "transactions", align: right },
      { head: "bytes", align: right },
      { head: "time", align: right },
      { head: "rate", align: right },
    ],
    rows.map(({ of, phase: { name, transactions, bytes: moved, seconds } }) => [
      ...of,
      name,
      String(transactions),
      bytes(moved),
      time(seconds),
      rate(moved, seconds),
    ]),
  );
}
