/**
 * `vfiokit demo`: a save and a restore, told step by step.
 *
 * @module
 */

import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import {
  createCheckpointFile,
  type Device,
  openCheckpointFile,
  openDevice,
  restore,
  save,
  type TransferReport,
  verifyCheckpoint,
} from "../../mod.ts";
import type { Context } from "../context.ts";
import { env } from "../env.ts";
import { DONE, FAILED } from "../exit_codes.ts";
import { bytes, count, hex, time } from "../output/format.ts";
import { table } from "../output/table.ts";
import { phaseTable } from "../output/transfer_report.ts";
import type { DemoArgs } from "../specs/uapi_demo_man.ts";

/** A device whose state changes by 64 MiB each second while it runs. */
const FIRST = "sim:partitioned?size=64MiB&rate=64MiB&seed=1";
/** The same kind of device, with another state. */
const SECOND = "sim:partitioned?size=64MiB&seed=2";

/** Where the simulated vendor's window (region 0) holds a CRC-32 of the device's whole state. */
const WINDOW_SIZE = 64;
const WINDOW_VIOLATIONS = 8;
const WINDOW_CRC = 24;

/** Runs `demo`. */
export async function run(_args: DemoArgs, context: Context): Promise<number> {
  await using made = new AsyncDisposableStack();
  const folder = await mkdtemp(join(env("TMPDIR") ?? "/tmp", "vfiokit-demo-"));
  made.defer(() => rm(folder, { recursive: true }));
  return await tell(join(folder, "device.vfk"), context);
}

async function tell(path: string, context: Context): Promise<number> {
  await using first = await openDevice(FIRST, { trace: context.trace });
  await using second = await openDevice(SECOND, { trace: context.trace });
  const before = [await look(first), await look(second)] as const;
  context.print(
    "Two simulated devices of one kind, no hardware: the first runs, and changes its state while",
    `it runs. Now it is saved, most of it in pre-copy, to ${path}.`,
    "",
  );
  const saved = await saveTo(path, first, context);
  const stored = await look(first);
  context.print(
    ...phaseTable(saved),
    "",
    `The device stood still only to give the rest, and until that was on disk: ${
      time(saved.downtimeSeconds ?? 0)
    }.`,
    "Then the checkpoint is verified, and restored into the second device.",
    "",
  );
  await using source = await openCheckpointFile(path);
  const checked = await verifyCheckpoint(source.stream());
  const restored = await restore(second, source, { signal: context.signal });
  const after = await look(second);
  context.print(...phaseTable(restored), "");
  context.print(...states([
    ["first, before", before[0]],
    ["first, saved", stored],
    ["second, before", before[1]],
    ["second, restored", after],
  ]));
  const equal = after.crc === stored.crc;
  const violations = stored.violations + after.violations;
  context.set({
    equal,
    violations,
    checkpoint: { bytes: checked.storedBytes, transactions: checked.trailer.transactions },
    save: saved,
    restore: restored,
  });
  const outcome = verdict(saved, equal, violations);
  context.print("", outcome);
  if (equal && violations === 0) return DONE;
  context.failed("not-equal", outcome);
  return FAILED;
}

/** Saves with pre-copy, and leaves the device stopped, so that its state can be compared. */
async function saveTo(path: string, device: Device, context: Context): Promise<TransferReport> {
  await using file = await createCheckpointFile(path);
  return await save(device, file, { precopy: {}, leave: "stop", signal: context.signal });
}

interface DeviceReading {
  readonly crc: number;
  readonly violations: number;
  readonly state: string;
}

async function look(device: Device): Promise<DeviceReading> {
  const window = new DataView((await device.readRegion(0, 0, WINDOW_SIZE)).buffer);
  return {
    crc: window.getUint32(WINDOW_CRC, true),
    violations: window.getUint32(WINDOW_VIOLATIONS, true),
    state: (await device.state()).state,
  };
}

function states(rows: readonly (readonly [string, DeviceReading])[]): string[] {
  return table(
    [{ head: "device" }, { head: "state" }, { head: "CRC-32 of its state" }],
    rows.map(([what, { state, crc }]) => [what, state, hex(crc, 8)]),
  );
}

function verdict(
  { bytes: moved, transactions }: TransferReport,
  equal: boolean,
  violations: number,
): string {
  const protocol = violations === 0
    ? "the protocol was kept to"
    : `${count(violations, "violation")} of the protocol`;
  return equal
    ? `The second device has the first one's state: ${bytes(moved)} in ` +
      `${count(transactions, "transaction")}, equal to the last bit; ${protocol}.`
    : `The second device's state differs from the first one's; ${protocol}.`;
}
