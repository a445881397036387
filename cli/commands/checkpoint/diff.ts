/**
 * `vfiokit diff`: what differs between two checkpoints.
 *
 * @module
 */

import { CheckpointFileError } from "../../../mod.ts";
import {
  type CheckpointFiles,
  type DeviceDifference,
  diffCheckpoints,
  type DifferentRange,
} from "../../../src/live/mod.ts";
import { chainName } from "../../chain_name.ts";
import type { Context } from "../../context.ts";
import { DONE, FAILED, USAGE } from "../../exit_codes.ts";
import { bytes, count, hex } from "../../output/format.ts";
import type { DiffArgs } from "../../specs/checkpoint/diff.ts";
import { verifiedChain } from "./folder.ts";

/** Most ranges and transactions of a device that are printed; JSON has all. */
const MOST_PRINTED = 20;

/** What a range is called. */
const HOW: Readonly<Record<DifferentRange["how"], string>> = {
  "differs": "differs",
  "only-first": "only in the first",
  "only-second": "only in the second",
};

/** Runs `diff`. */
export async function run({ first, second }: DiffArgs, context: Context): Promise<number> {
  context.set({ first, second, same: null, devices: null });
  const { signal } = context;
  try {
    const [one, two] = [await filesOf(first, context), await filesOf(second, context)];
    const { same, devices } = await diffCheckpoints(one, two, { signal });
    context.set({ same, devices: devices.map(fields) });
    for (const device of devices) context.print(...lines(device, devices.length));
    if (same) return DONE;
    context.endedBy("differs", "The checkpoints differ");
    return FAILED;
  } catch (error) {
    if (!(error instanceof CheckpointFileError)) throw error;
    // As of diff(1): 1 says that they differ.
    return await context.fail({ ...await context.explain(error), exitCode: USAGE });
  }
}

async function filesOf(word: string, context: Context): Promise<CheckpointFiles> {
  const chain = chainName(word);
  return chain === null ? { files: [word] } : await verifiedChain(word, chain, context);
}

function lines({ device, memory, data }: DeviceDifference, devices: number): string[] {
  const who = devices === 1 ? "" : `device ${device}: `;
  const pages = memory.reduce((sum, { size }) => sum + Number(size) / 4096, 0);
  const { transactions, different } = data;
  const [one, two] = transactions;
  const of = one === two ? count(one, "transaction") : `${one} and ${two} transactions`;
  const moved = different.reduce((sum, each) => sum + each.different, 0);
  return [
    `${who}memory: ${pages === 0 ? "the same" : `${count(pages, "page")} in ${ranges(memory)}`}`,
    ...cut(
      memory.map(({ iova, size, how }) => `  ${hex(iova)}: ${bytes(Number(size))} ${HOW[how]}`),
    ),
    `${who}device data: ` +
    (different.length === 0
      ? `the same, ${of}`
      : `${different.length} of ${of} differ, by ${count(moved, "byte")}`),
    ...cut(
      different.map(({ transaction, phases, sizes, different }) =>
        `  transaction ${transaction} (${phases.map((phase) => phase ?? "none").join(", ")}): ` +
        `${count(different, "byte")} of ${sizes.join(" and ")}`
      ),
    ),
  ];
}

function ranges(memory: readonly DifferentRange[]): string {
  return count(memory.length, "range");
}

function cut(all: readonly string[]): string[] {
  const left = all.length - MOST_PRINTED;
  return [...all.slice(0, MOST_PRINTED), ...(left > 0 ? [`  … and ${left} more`] : [])];
}

function fields({ device, memory, data }: DeviceDifference): Readonly<Record<string, unknown>> {
  const [first, second] = data.transactions;
  return {
    device,
    memory: memory.map(({ iova, size, how }) => ({ iova, size: Number(size), how })),
    transactions: { first, second },
    data: data.different.map(({ transaction, phases, sizes, different }) => ({
      transaction,
      phase: { first: phases[0], second: phases[1] },
      size: { first: sizes[0], second: sizes[1] },
      differentBytes: different,
    })),
  };
}
