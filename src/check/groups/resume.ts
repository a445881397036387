/**
 * Restoring: the device's own state in every form, and what is not its state.
 *
 * @module
 */

import { VFIO_MIGRATION_PRE_COPY } from "../../uapi/mod.ts";
import { hasState } from "../../vfio/state/v2_plan.ts";
import { answered } from "../attempt.ts";
import type { CheckContext } from "../context.ts";
import { type Check, defineCheck, type Needs } from "../define.ts";
import { judgeRestore } from "../judge_restore.ts";
import { rule } from "../rules.ts";
import { difference, foreignBytes, joined, streamOf } from "../state_bytes.ts";
import {
  ERROR,
  PRE_COPY,
  PRE_COPY_P2P,
  RESUMING,
  RUNNING,
  stateName,
  STOP,
  STOP_COPY,
} from "../v2/states.ts";
import type { Stream, V2Device } from "../v2/v2_device.ts";
import { saveStopped } from "./stop_copy.ts";

const group = "resume";
const needs: Needs = { protocol: "v2" };

/** Sizes of the pieces that a state is written in. */
const PIECES: readonly number[] = [4095, 65536, 4 * 1024 * 1024];
/** Pieces so small that only the first bytes are written in them. */
const SMALL_PIECES: readonly number[] = [1, 13];
const SMALL_BYTES = 16384;
/** Where a state is split in two: inside what drivers begin their data with. */
const SPLIT_AT: readonly number[] = [1, 4, 7, 8, 9, 15, 16, 17, 23, 24, 31, 32, 40, 63];
/** The least bytes of a state that is worth damaging: the kernel's sample device has 60. */
const LEAST_BYTES = 32;
/** Where bytes of a state are flipped, one place at a time: drivers check different ones. */
const FLIPPED_AT: readonly number[] = [0, 8, 16, 24, 32];
const FLIPPED_BYTES = 8;
/** What is read of pre-copy that is left with data unread. */
const SOME_BYTES = 100;
/** Sizes of reads in pre-copy and after it, in turn. */
const READ_SIZES: readonly number[] = [1, 13, 63, 4095, 65536];
/** How long a device runs between a save and the next, in milliseconds. */
const RUN_MS = 200;

/** Takes a device from RESUMING to STOP; the state has to be accepted. */
function accept(context: CheckContext, v2: V2Device, what: string): void {
  const { errno } = v2.set(STOP);
  context.expect(errno === null, `${what} is accepted by the step to STOP`, `it fails: ${errno}`);
}

/** Gives a device what it must not accept: a write or the step to STOP has to fail. */
function expectRefusal(
  context: CheckContext,
  stream: Stream,
  what: string,
  whole: boolean,
): void {
  const v2 = context.targetV2;
  const fd = v2.open(RESUMING);
  const written = v2.writeAll(fd, stream);
  const { errno } = v2.set(STOP);
  context.expect(
    errno !== null || written !== null,
    `${what}: a write or the step to STOP fails`,
    "both succeed",
  );
  // If the state was whole before the write that failed, the device may well have it.
  context.expect(
    errno !== null || whole,
    "after a write that failed, the step to STOP fails",
    `the write failed with ${written}, and the step succeeds`,
    74,
  );
  const after = v2.get().value?.state;
  context.expect(
    after === undefined || after === RESUMING || after === STOP || after === ERROR,
    "after the step that failed the device is in RESUMING, STOP or ERROR",
    `GET answers ${stateName(after ?? 0)}`,
    27,
  );
  v2.reset();
  v2.close(fd);
}

/** A state to damage: the device's own. */
function ownBytes(context: CheckContext): Uint8Array<ArrayBuffer> {
  const bytes = joined(context.v2.save());
  if (bytes.length < LEAST_BYTES) context.skip(`the state has only ${bytes.length} bytes`);
  return bytes;
}

function refusalCheck(
  id: string,
  number: number,
  what: string,
  make: (own: Uint8Array<ArrayBuffer>, context: CheckContext) => readonly Stream[],
): Check {
  return defineCheck({
    id: `v2.resume.${id}`,
    group,
    safety: "destructive",
    rules: [rule(number), rule(74), rule(27)],
    needs: { ...needs, resettable: true },
    run: (context) => {
      const own = ownBytes(context);
      for (const stream of make(own, context)) {
        const whole = stream.bytes > own.length;
        expectRefusal(context, stream, `${what} (${stream.bytes} of ${own.length} bytes)`, whole);
      }
    },
  });
}

/** Saves, lets the device run, restores into the target, and saves again without running. */
function roundTrip(
  context: CheckContext,
  save: (context: CheckContext) => Stream,
): void {
  const { v2, targetV2: target } = context;
  const stream = save(context);
  // The source is stopped: what it would give now is what the target has to give.
  const wanted = saveStopped(context);
  const again = difference(wanted, saveStopped(context));
  if (again !== null) context.unclear(`two saves of the stopped device differ: ${again}`);
  v2.enter(RUNNING);
  // The target gets another state before, if it can: a restore that loads nothing must show.
  if (context.device.resettable) target.reset();
  context.pause(RUN_MS);
  target.enter(STOP);
  const before = saveStopped(context, target);
  const fd = target.open(RESUMING);
  const refused = target.writeAll(fd, stream);
  context.expect(refused === null, "the state can be written", `${refused}`);
  accept(context, target, "the state");
  target.close(fd);
  const after = saveStopped(context, target);
  const found = difference(wanted, after);
  context.expect(
    found === null || difference(before, after) !== null,
    "the step from RESUMING to STOP loads the state",
    "the device has the state from before",
    76,
  );
  context.expect(
    found === null,
    "saved again, the restored device gives the bytes that it was given",
    found ?? "",
  );
}

/** Reads pre-copy by `read`, then STOP_COPY; the device is left in STOP. */
function saveAfter(
  context: CheckContext,
  read: (fd: number) => readonly Uint8Array<ArrayBuffer>[],
  sizes?: readonly number[],
): Stream {
  const { v2 } = context;
  const fd = v2.open(PRE_COPY);
  const before = read(fd);
  v2.enter(STOP_COPY);
  const rest = v2.readAll(fd, sizes);
  v2.close(fd);
  v2.enter(STOP);
  return streamOf(...before, ...rest.chunks);
}

/** One read in pre-copy, which leaves most of the data. */
function readSome(context: CheckContext, fd: number): Uint8Array<ArrayBuffer>[] {
  const { value } = context.v2.read(fd, SOME_BYTES);
  context.step(`read ${value?.length ?? 0} bytes in PRE_COPY`);
  return value === null ? [] : [value.slice()];
}

/** Begins pre-copy, reads some of it or all, and gives up. */
function abandonPrecopy(context: CheckContext, all: boolean): void {
  const { v2 } = context;
  const fd = v2.open(PRE_COPY);
  if (all) v2.readAll(fd);
  else readSome(context, fd);
  v2.enter(RUNNING);
  v2.close(fd);
}

/** The data of pre-copy with the data of STOP_COPY behind it; the device is left in STOP. */
function saveWithPrecopy(context: CheckContext): Stream {
  const { v2 } = context;
  const fd = v2.open(PRE_COPY);
  const before = v2.readAll(fd);
  context.pause(RUN_MS);
  const changed = v2.readAll(fd);
  v2.enter(STOP_COPY);
  const rest = v2.readAll(fd);
  v2.close(fd);
  v2.enter(STOP);
  return streamOf(...before.chunks, ...changed.chunks, ...rest.chunks);
}

/** Saves with pre-copy that is left early, begun again, or read in pieces. */
const PRECOPY_TRIPS: readonly (readonly [
  name: string,
  rule: number,
  save: (context: CheckContext) => Stream,
])[] = [
  ["unread", 147, (context) => saveAfter(context, () => [])],
  ["left-early", 147, (context) => saveAfter(context, (fd) => readSome(context, fd))],
  ["again", 65, (context) => {
    abandonPrecopy(context, false);
    abandonPrecopy(context, true);
    return saveWithPrecopy(context);
  }],
  [
    "read-sizes",
    46,
    (context) => saveAfter(context, (fd) => context.v2.readAll(fd, READ_SIZES).chunks, READ_SIZES),
  ],
  ["p2p", 34, (context) =>
    saveAfter(context, (fd) => {
      const first = readSome(context, fd);
      if (!hasState(PRE_COPY_P2P, context.v2.flags)) {
        context.skip("the device has no PRE_COPY_P2P");
      }
      context.v2.enter(PRE_COPY_P2P);
      const more = readSome(context, fd);
      context.v2.enter(PRE_COPY);
      return [...first, ...more, ...context.v2.readAll(fd).chunks];
    })],
];

/** The checks of RESUMING. */
export const RESUME_CHECKS: readonly Check[] = [
  defineCheck({
    id: "v2.resume.own-state",
    group,
    safety: "reset",
    rules: [rule(66), rule(76)],
    needs,
    run: (context) => {
      const { v2 } = context;
      const own = v2.save();
      const fd = v2.open(RESUMING);
      const refused = v2.writeAll(fd, own);
      context.expect(
        refused === null,
        "the data of STOP_COPY alone can be written",
        `a write failed with ${refused}`,
      );
      accept(context, v2, "the data of STOP_COPY alone");
      v2.enter(RUNNING);
      v2.close(fd);
      const again = v2.load(v2.save());
      const { errno } = v2.set(RUNNING);
      context.expect(
        errno === null,
        "the SET of RUNNING in RESUMING succeeds",
        `it failed with ${errno}`,
        76,
      );
      v2.close(again);
      const state = v2.state();
      context.expect(state === RUNNING, "GET answers RUNNING", stateName(state), 76);
    },
  }),
  defineCheck({
    id: "v2.resume.takes-writes",
    group,
    safety: "reset",
    rules: [rule(31)],
    needs: { ...needs, resettable: true },
    run: (context) => {
      const { v2 } = context;
      const own = joined(v2.save());
      const fd = v2.open(RESUMING);
      const answer = v2.write(fd, own.subarray(0, 4096));
      context.step(`write of the state's begin → ${answered(answer)}`);
      context.expect(answer.errno === null, "the data_fd takes it", answered(answer));
      v2.reset();
    },
  }),
  defineCheck({
    id: "v2.resume.pieces",
    group,
    safety: "reset",
    rules: [rule(68)],
    needs,
    run: (context) => {
      const { v2 } = context;
      const own = joined(v2.save());
      const small = SMALL_PIECES.map((size) => [size, own.subarray(0, SMALL_BYTES)] as const);
      const large = PIECES.map((size) => [size, own.subarray(0, 0)] as const);
      for (const [size, first] of [...small, ...large]) {
        const fd = v2.open(RESUMING);
        const head = v2.writeAll(fd, streamOf(first), size);
        const rest = streamOf(own.subarray(first.length));
        const errno = head ?? v2.writeAll(fd, rest, first.length > 0 ? 65536 : size);
        context.expect(
          errno === null,
          `the state can be written in pieces of ${size} bytes`,
          `a write failed with ${errno}`,
        );
        accept(context, v2, `a state in pieces of ${size} bytes`);
        v2.enter(RUNNING);
        v2.close(fd);
      }
    },
  }),
  defineCheck({
    id: "v2.resume.split",
    group,
    safety: "reset",
    rules: [rule(68)],
    needs,
    run: (context) => {
      const { v2 } = context;
      const own = joined(v2.save());
      const places = [...SPLIT_AT, own.length >> 1, own.length - 1];
      for (const at of places.filter((place) => place > 0 && place < own.length)) {
        const fd = v2.open(RESUMING);
        const errno = v2.writeAll(fd, streamOf(own.subarray(0, at), own.subarray(at)), own.length);
        context.expect(
          errno === null,
          `the state can be written in two pieces, split at byte ${at}`,
          `a write failed with ${errno}`,
        );
        accept(context, v2, `a state split at byte ${at}`);
        v2.enter(RUNNING);
        v2.close(fd);
      }
    },
  }),
  defineCheck({
    id: "v2.resume.late-write",
    group,
    safety: "reset",
    rules: [rule(75)],
    needs,
    run: (context) => {
      const { v2 } = context;
      const fd = v2.load(v2.save());
      v2.enter(STOP);
      const answer = v2.write(fd, new Uint8Array(16));
      context.step(`write in STOP → ${answered(answer)}`);
      context.expect(answer.errno !== null, "it fails", "it succeeds");
    },
  }),
  defineCheck({
    id: "v2.resume.no-reads",
    group,
    safety: "reset",
    rules: [rule(136), rule(56)],
    needs: { ...needs, resettable: true },
    run: (context) => {
      const { v2 } = context;
      const fd = v2.open(RESUMING);
      const answer = v2.read(fd, 16);
      context.step(`read of the data_fd of a restore → ${answered(answer)}`);
      context.expect(answer.errno !== null, "it fails", "it succeeds");
      const info = v2.precopyInfo(fd);
      context.step(`PRECOPY_INFO of the data_fd of a restore → ${answered(info)}`);
      context.expect(info.errno !== null, "PRECOPY_INFO is refused", "it succeeds", 56);
    },
  }),
  defineCheck({
    id: "v2.resume.reset",
    group,
    safety: "reset",
    rules: [rule(77)],
    needs: { ...needs, resettable: true },
    run: (context) => {
      const { v2 } = context;
      const own = joined(v2.save());
      const fd = v2.open(RESUMING);
      // A part of a state, which must not be in the way of a whole one afterwards.
      const begin = own.subarray(0, Math.max(1, own.length >> 1));
      v2.writeAll(fd, streamOf(begin.subarray(0, 1), begin.subarray(1)));
      const errno = v2.reset();
      context.expect(errno === null, "VFIO_DEVICE_RESET succeeds", `it failed with ${errno}`);
      const state = v2.state();
      context.expect(state === RUNNING, "GET answers RUNNING", `it answers ${stateName(state)}`);
      const again = v2.open(RESUMING);
      const refused = v2.writeAll(again, streamOf(own));
      context.expect(refused === null, "a whole state can be written then", `${refused}`);
      accept(context, v2, "a whole state after one that was cut short by a reset");
    },
  }),
  refusalCheck(
    "cut",
    69,
    "data that is cut",
    (own) => [own.length >> 1, own.length - 1].map((length) => streamOf(own.subarray(0, length))),
  ),
  refusalCheck("empty", 70, "no data", () => [streamOf()]),
  refusalCheck("damaged-head", 71, "data with a damaged head", (own) => {
    const damaged = own.slice();
    damaged.fill(0xff, 0, 64);
    return [streamOf(damaged)];
  }),
  refusalCheck("too-long", 72, "data with bytes behind it", (own) => [
    streamOf(own, foreignBytes(4096)),
    streamOf(own, own),
  ]),
  refusalCheck("foreign", 73, "the data of another device", (_own, { foreign }) => [
    streamOf(foreignBytes(65536)),
    ...(foreign === null ? [] : [streamOf(foreign)]),
  ]),
  defineCheck({
    id: "v2.resume.refused-write",
    group,
    safety: "destructive",
    rules: [rule(74)],
    needs: { ...needs, resettable: true },
    run: (context) => {
      const { v2 } = context;
      const own = ownBytes(context);
      const flipped = FLIPPED_AT.map((start) =>
        own.map((byte, at) => at >= start && at < start + FLIPPED_BYTES ? byte ^ 0xff : byte)
      );
      let refusals = 0;
      for (const bytes of [foreignBytes(65536), ...flipped]) {
        const fd = v2.open(RESUMING);
        const refused = v2.writeAll(fd, streamOf(bytes));
        if (refused !== null) {
          refusals += 1;
          // The device must not go on as if the refused write had not been.
          if (bytes.length !== own.length) v2.writeAll(fd, streamOf(own));
          const { errno } = v2.set(STOP);
          context.expect(
            errno !== null,
            `after a write that failed with ${refused}, the step to STOP fails`,
            "it succeeds",
          );
        }
        v2.reset();
        v2.close(fd);
      }
      if (refusals === 0) context.unclear("no write of foreign or damaged data is refused");
    },
  }),
  defineCheck({
    id: "v2.round-trip.stop-copy",
    group: "round-trip",
    safety: "reset",
    rules: [rule(67), rule(76)],
    needs,
    run: (context) => {
      roundTrip(context, () => {
        context.v2.enter(STOP);
        return saveStopped(context);
      });
    },
  }),
  defineCheck({
    id: "v2.round-trip.precopy",
    group: "round-trip",
    safety: "reset",
    rules: [rule(67), rule(66)],
    needs: { ...needs, flags: VFIO_MIGRATION_PRE_COPY },
    run: (context) => roundTrip(context, saveWithPrecopy),
  }),
  ...PRECOPY_TRIPS.map(([name, number, save]) =>
    defineCheck({
      id: `v2.round-trip.precopy-${name}`,
      group: "round-trip",
      safety: "reset",
      rules: [rule(number), rule(67)],
      needs: { ...needs, flags: VFIO_MIGRATION_PRE_COPY },
      run: (context) => roundTrip(context, save),
    })
  ),
  defineCheck({
    id: "v2.round-trip.running",
    group: "round-trip",
    safety: "reset",
    rules: [rule(76)],
    needs: { ...needs, resettable: true },
    run: (context) => {
      const { v2, targetV2: target } = context;
      const own = v2.save();
      judgeRestore(context, {
        restore: () => {
          const fd = target.load(own);
          const { errno } = target.set(RUNNING);
          context.expect(errno === null, "RESUMING to RUNNING succeeds", `it failed with ${errno}`);
          target.close(fd);
          return difference(own, target.save());
        },
        save: () => target.save(),
        expected: "once it runs, the device has the state that it was given",
      });
    },
  }),
];
