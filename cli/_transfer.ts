/**
 * What save and restore tell about themselves, as JSON and in words.
 *
 * @module
 */

import type { Device, TransferReport } from "../mod.ts";
import type { Context } from "./_context.ts";
import { bytes, count, rate, time } from "./_format.ts";
import { table } from "./_table.ts";

/** The document before anything happened: every key is there from the start. */
export function startDocument(context: Context, device: string): void {
  context.set({
    device,
    protocol: null,
    state: null,
    transactions: 0,
    bytes: 0,
    seconds: 0,
    bytesPerSecond: null,
    phases: [],
  });
}

/** Adds how it went. */
export function reportDocument(context: Context, device: Device, report: TransferReport): void {
  const { state, transactions, bytes, seconds, phases } = report;
  context.set({
    protocol: device.description.protocol,
    state,
    transactions,
    bytes,
    seconds,
    bytesPerSecond: seconds > 0 ? Math.round(bytes / seconds) : null,
    phases,
  });
}

/** Adds how far it got before it failed. */
export function failedDocument(context: Context, device: Device): void {
  const { state, transactions, bytes } = device.progress();
  context.set({
    protocol: device.description.protocol,
    state,
    transactions,
    bytes,
  });
}

/** How it went, in one line. */
export function summary(report: TransferReport): string {
  const { transactions, bytes: moved, seconds } = report;
  return `${bytes(moved)} in ${count(transactions, "transaction")}, ${time(seconds)} ` +
    `(${rate(moved, seconds)})`;
}

/** How each phase went, as a table. */
export function phaseTable({ phases }: TransferReport): string {
  const right = "right" as const;
  return table(
    [
      { head: "phase" },
      { head: "transactions", align: right },
      { head: "bytes", align: right },
      { head: "time", align: right },
      { head: "rate", align: right },
    ],
    phases.map(({ name, transactions, bytes: moved, seconds }) => [
      name,
      String(transactions),
      bytes(moved),
      time(seconds),
      rate(moved, seconds),
    ]),
  );
}
