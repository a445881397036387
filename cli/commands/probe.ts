/**
 * `vfiokit probe`: what a device is, and whether it can be migrated.
 *
 * @module
 */

import { probe } from "../../mod.ts";
import type { ProbeReport, Reason, Region } from "../../src/vfio/mod.ts";
import { isProcessDevice, ProcessDevice } from "../../src/vmm/mod.ts";
import { simHelp } from "../../src/sim/mod.ts";
import { CANNOT, DONE, FAILED } from "../exit_codes.ts";
import type { Context } from "../context.ts";
import { noteLines } from "../output/notes.ts";
import { bytes, hex } from "../output/format.ts";
import { reasonHint } from "../output/hint.ts";
import { table } from "../output/table.ts";
import { UsageError } from "../usage_error.ts";
import type { ProbeArgs } from "../specs/probe_state_reset_with.ts";

/** Runs `probe`. */
export function run(args: ProbeArgs, context: Context): Promise<number> {
  if (args.device === "sim:help" && !context.json) {
    context.print(...simHelp().trimEnd().split("\n"));
    return Promise.resolve(0);
  }
  const { noOpen, vfToken, via } = args;
  const report = isProcessDevice(args.device)
    ? probeOfProcess(args, context)
    : probe(args.device, { open: !noOpen, vfToken, via, trace: context.trace });
  context.set({ ...report, regions: report.regions.map(regionDocument) });
  const absent = report.reasons[0]?.code === "no-such-device";
  context.print(
    `${report.device}: ${absent ? "there is no such device" : verdict(report)}`,
    ...facts(report),
  );
  if (report.regions.length > 0) context.print(...regionTable(report.regions));
  for (const reason of report.reasons) context.print(...reasonLines(reason));
  context.note(...report.notes);
  context.note(...noteLines([{ name: report.device, notes: report.driverNotes }]));
  const exitCode = exitCodeFor(report);
  const [reason] = report.reasons;
  if (exitCode !== 0 && reason !== undefined) context.failed(reason.code, reason.message);
  return Promise.resolve(exitCode);
}

/** What a device of another process says of itself: nothing that is asked changes it. */
function probeOfProcess(
  { device, noOpen, vfToken, via }: ProbeArgs,
  context: Context,
): ProbeReport {
  if (noOpen || vfToken !== undefined || via !== undefined) {
    throw new UsageError(
      "Cannot use --no-open, --via or --vf-token: another process has opened it",
    );
  }
  using taken = ProcessDevice.take(device);
  const report = probe(`fd:${taken.own}`, { trace: context.trace });
  const note =
    `Process ${taken.pid} drives it: nothing was set. Left out: v1's registers, and all ` +
    "of dirty tracking, since reading either has effects that the process would see";
  return { ...report, device: taken.name, notes: [...report.notes, note] };
}

function exitCodeFor({ migratable, reasons }: ProbeReport): number {
  const against = reasons.filter(({ blocks }) => blocks);
  if (migratable === true || (migratable === null && against.length === 0)) return DONE;
  // One that is in use could not be looked at.
  return reasons[0]?.code === "busy" ? FAILED : CANNOT;
}

function verdict(report: ProbeReport): string {
  const { migratable, protocol, dataSection, migrationFlags, opened } = report;
  if (migratable === null) return opened ? "not known" : "not opened, so not known to migrate";
  if (!migratable) return "cannot be migrated";
  const how = migrationFlags === null
    ? `data section ${dataSection}`
    : `with ${migrationFlags.join(", ")}`;
  return `can be migrated, protocol ${protocol}, ${how}`;
}

function facts(report: ProbeReport): string[] {
  const { bus, driver, group, identity, quirk, resettable } = report;
  const type = identity?.mdevType ?? identity?.vgpuType;
  const named = type === undefined ? "" : `, type ${type}`;
  const ids = identity?.vendorId == null || identity.deviceId == null
    ? ""
    : `, ${hex(identity.vendorId, 4)}:${hex(identity.deviceId, 4)}`;
  const lines: (readonly [string, string | null])[] = [
    ["bus", bus === null ? null : `${bus}${ids}${named}`],
    ["driver", driver === null ? null : driver + (quirk === null ? "" : `, quirk ${quirk}`)],
    ["group", group === null ? null : String(group)],
    ["opened", accessWords(report.access)],
    ["reset", resettable === null ? null : resettable ? "yes" : "no"],
    ["dirty", dirtyWords(report)],
    ["features", report.features.length === 0 ? null : featureWords(report.features)],
  ];
  return lines.filter(([, value]) => value !== null).map(([name, value]) =>
    `  ${name.padEnd(8)} ${value}`
  );
}

/** By which nodes it was opened; nothing of a kernel that has but one way. */
function accessWords({ via, cdev, iommufd, whyNotCdev }: ProbeReport["access"]): string | null {
  if (cdev === null && iommufd === null) return null;
  const nodes = [cdev, iommufd].filter((node) => node !== null).join(", ");
  if (via === null) return `not; there are ${nodes}`;
  if (via === "cdev") return `by its character device (${nodes})`;
  return `by its group, not by ${nodes}` + (whyNotCdev === null ? "" : `: ${whyNotCdev}`);
}

function dirtyWords(
  { dirty: { tracks, pgsizes, maxBitmapBytes }, access: { via }, group }: ProbeReport,
): string | null {
  if (tracks === null) {
    return via === "cdev" && group !== null
      ? "tracked by type1 only when it is opened by its group"
      : null;
  }
  if (!tracks) return "pages are not tracked by the IOMMU";
  const largest = maxBitmapBytes === null ? "" : `, bitmaps up to ${bytes(maxBitmapBytes)}`;
  return `tracked by pages of ${pgsizes.map(bytes).join(", ")}${largest}`;
}

/** Those that are there; and those that are not, by what the kernel answers. */
function featureWords(features: ProbeReport["features"]): string {
  const there = features.filter(({ supported }) => supported).map(({ name }) => name).join(", ");
  const words = there === "" ? [] : [there];
  for (const errno of new Set(features.flatMap(({ errno }) => errno ?? []))) {
    const names = features.filter((feature) => feature.errno === errno).map(({ name }) => name);
    words.push(`not ${names.join(", ")} (${errno})`);
  }
  return words.join("; ");
}

function reasonLines(reason: Reason): string[] {
  const { message, blocks } = reason;
  const hint = reasonHint(reason);
  const lines = [`${blocks ? "why" : "note"}: ${message}`];
  return hint === "" ? lines : [...lines, `  hint: ${hint}`];
}

function regionTable(regions: readonly Region[]): string[] {
  return table(
    [
      { head: "region", align: "right" },
      { head: "size", align: "right" },
      { head: "offset", align: "right" },
      { head: "access" },
      { head: "type" },
      { head: "capabilities" },
    ],
    regions.filter(({ size }) => size > 0n).map((region) => [
      String(region.index),
      hex(region.size),
      hex(region.offset),
      access(region),
      region.type === null ? "" : `${region.type.type}:${region.type.subtype}`,
      region.capabilities.map(({ id, version }) => `${id} v${version}`).join(", "),
    ]),
  );
}

function access({ readable, writable, mappable, sparse }: Region): string {
  const ways = [readable && "read", writable && "write", mappable && "mmap"];
  const areas = sparse === null ? "" : ` (${sparse.length} sparse)`;
  return ways.filter((way) => way !== false).join(" ") + areas;
}

/** Byte counts as numbers; what is an address stays a bigint, and so becomes hex. */
function regionDocument(region: Region): Record<string, unknown> {
  const { index, flags, size, offset, type, sparse, capabilities } = region;
  return {
    index,
    flags,
    size: Number(size),
    offset,
    type,
    sparse: sparse?.map((area) => ({ offset: area.offset, size: Number(area.size) })) ?? null,
    capabilities: capabilities.map(({ id, version }) => ({ id, version })),
  };
}
