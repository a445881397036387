/**
 * Restoring by the v1 protocol: the device's own state, and what is not a state.
 *
 * @module
 */

import type { CheckContext } from "../context.ts";
import type { Check } from "../define.ts";
import { judgeRestore } from "../judge_restore.ts";
import { difference } from "../state_bytes.ts";
import {
  PRE_COPY,
  REGISTER,
  RESUMING,
  RUNNING,
  STOP_AND_COPY,
  type V1Transaction,
} from "../v1/v1_device.ts";
import type { Stream } from "../v2/v2_device.ts";
import { bytesOf, v1Check } from "./v1.ts";

/** Iterations of pre-copy at most: the device may change as fast as it is read. */
const PRECOPY_ITERATIONS = 1000;

/** Restores a state into the target, and lets it run. */
function restore(context: CheckContext, saved: readonly V1Transaction[]): void {
  const target = context.targetV1;
  // The target gets another state before, if it can: a restore that loads nothing must show.
  if (context.device.resettable) target.reset();
  const errno = target.set(RESUMING);
  context.expect(errno === null, "RUNNING to RESUMING succeeds", `${errno}`, 118);
  const refused = target.giveAll(saved);
  context.expect(refused === null, "the device takes its own state", `${refused}`);
  const left = target.set(RUNNING);
  context.expect(left === null, "RESUMING to RUNNING succeeds", `it failed with ${left}`);
}

/** The state of the target, which runs before and after it. */
function stateOf({ targetV1: target }: CheckContext): Stream {
  return bytesOf(target.save());
}

/** Pre-copy for some iterations, or to its end, and then the rest. */
function saveWithPrecopy(context: CheckContext, iterations: number): V1Transaction[] {
  const { v1 } = context;
  v1.enter(PRE_COPY);
  const before: V1Transaction[] = [];
  while (before.length < iterations) {
    const transaction = v1.iterate();
    if (transaction === null) break;
    before.push(transaction);
  }
  context.step(`read ${before.length} iterations in pre-copy`);
  v1.enter(STOP_AND_COPY);
  return [...before, ...v1.drain()];
}

function precopyCheck(name: string, iterations: number): Check {
  return v1Check(
    `restore.${name}`,
    [154, 118],
    (context) =>
      judgeRestore(context, {
        restore: () => {
          const saved = saveWithPrecopy(context, iterations);
          context.v1.enter(RUNNING);
          const wanted = bytesOf(context.v1.save());
          restore(context, saved);
          return difference(wanted, stateOf(context));
        },
        save: () => stateOf(context),
        expected: "the device has the state that it was given",
      }),
    { safety: "reset", resettable: true },
  );
}

/** The checks of restoring by v1. */
export const V1_RESTORE_CHECKS: readonly Check[] = [
  v1Check("restore.own-state", [119, 118, 109], (context) =>
    judgeRestore(context, {
      restore: () => {
        const saved = context.v1.save();
        restore(context, saved);
        return difference(bytesOf(saved), stateOf(context));
      },
      save: () => stateOf(context),
      expected: "saved again, it gives the same bytes",
    }), { safety: "reset" }),
  precopyCheck("with-precopy", PRECOPY_ITERATIONS),
  precopyCheck("precopy-left-early", 1),
  v1Check(
    "restore.size-outside",
    [105],
    (context) => {
      const { v1 } = context;
      v1.enter(RESUMING);
      const { value: offset } = v1.read(REGISTER.data_offset);
      if (offset === null) context.unclear("data_offset cannot be read in RESUMING");
      const size = v1.region.size + 4096n;
      const { errno } = v1.write(REGISTER.data_size, size);
      context.step(`write data_size ${size} in RESUMING → ${errno ?? "success"}`);
      const left = v1.set(RUNNING);
      v1.reset();
      context.expect(
        errno !== null || left !== null,
        `a data_size beyond the region's ${v1.region.size} bytes is refused`,
        "it is taken, and so is the step to RUNNING",
      );
      context.prefer(errno !== null, "the write of data_size fails", "only the step does");
    },
    { safety: "destructive", resettable: true },
  ),
  v1Check(
    "restore.taken-at-once",
    [109],
    (context) => {
      const { v1 } = context;
      const saved = v1.save();
      v1.enter(RESUMING);
      for (const { data } of saved) {
        const { value: offset } = v1.read(REGISTER.data_offset);
        if (offset === null) context.unclear("data_offset cannot be read in RESUMING");
        v1.pwrite(Number(offset), data);
        const { errno } = v1.write(REGISTER.data_size, BigInt(data.length));
        context.expect(errno === null, "the write of data_size succeeds", `${errno}`);
        // Once the write has returned the data is taken: what is there now does not count.
        v1.pwrite(Number(offset), new Uint8Array(data.length));
      }
      context.step(`write ${saved.length} transactions, and zeros over each of them`);
      const errno = v1.set(RUNNING);
      context.expect(errno === null, "the state is accepted", `the step failed with ${errno}`);
    },
    { safety: "reset", resettable: true },
  ),
  v1Check(
    "restore.cut",
    [110],
    (context) => {
      const { v1 } = context;
      const saved = v1.save();
      v1.enter(RESUMING);
      const last = saved.at(-1)!;
      const cut = saved.length > 1
        ? saved.slice(0, -1)
        : [{ offset: last.offset, data: last.data.slice(0, last.data.length >> 1) }];
      const written = v1.giveAll(cut);
      const left = v1.set(RUNNING);
      context.expect(
        written !== null || left !== null,
        "a write, or the step to RUNNING, fails",
        "both succeed",
      );
      v1.reset();
    },
    { safety: "destructive", resettable: true },
  ),
];
