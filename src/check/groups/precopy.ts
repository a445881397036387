/**
 * Pre-copy: what the precopy info says, and whether the reads bear it out.
 *
 * @module
 */

import { POLLIN } from "../../kernel/kernel.ts";
import {
  VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2,
  VFIO_DEVICE_FEATURE_SET,
  VFIO_MIG_GET_PRECOPY_INFO,
  VFIO_MIGRATION_P2P,
  VFIO_MIGRATION_PRE_COPY,
  VFIO_PRECOPY_INFO_REINIT,
  type VfioPrecopyInfo,
  vfioPrecopyInfo,
} from "../../uapi/mod.ts";
import { hasState } from "../../vfio/state/v2_plan.ts";
import { answered, attempt } from "../attempt.ts";
import type { CheckContext } from "../context.ts";
import { type Check, defineCheck, type Needs } from "../define.ts";
import { rule } from "../rules.ts";
import {
  PRE_COPY,
  PRE_COPY_P2P,
  RUNNING,
  RUNNING_P2P,
  stateName,
  STOP_COPY,
} from "../v2/states.ts";
import { READ_BYTES } from "../v2/v2_device.ts";
import { expectDead } from "./stop_copy.ts";

const group = "precopy";
const needs: Needs = { protocol: "v2", flags: VFIO_MIGRATION_PRE_COPY };

/** Bytes after which pre-copy is not drained any further: the device may change as fast. */
const DRAIN_MAX = 256 * 1024 * 1024;
/** How often a question is asked again that a running device may answer differently. */
const TURNS = 5;
/** How long a change of the device is waited for, in milliseconds. */
const CHANGE_MS = 1000;
const CANARY = 0xa5;
/** The least bytes of an info that are judged by their proportion. */
const JUDGED_BYTES = 8192n;

function infoOf(context: CheckContext, fd: number): VfioPrecopyInfo {
  const { value, errno } = context.v2.precopyInfo(fd, { flags: 0 });
  context.expect(
    value !== null,
    "VFIO_MIG_GET_PRECOPY_INFO succeeds in PRE_COPY",
    `it failed with ${errno}`,
    54,
  );
  const { initial_bytes, dirty_bytes, flags } = value!;
  context.step(`PRECOPY_INFO → initial ${initial_bytes}, dirty ${dirty_bytes}, flags ${flags}`);
  return value!;
}

/** Reads until there is nothing to read; answers the bytes, and how the last read ended. */
function drain(context: CheckContext, fd: number): { bytes: number; end: string } {
  let bytes = 0;
  for (;;) {
    const { value, errno } = context.v2.read(fd);
    if (errno !== null || value.length === 0 || bytes > DRAIN_MAX) {
      const end = errno ?? (value.length === 0 ? "0 bytes" : "more data");
      context.step(`read ${bytes} bytes in PRE_COPY, then ${end}`);
      return { bytes, end };
    }
    bytes += value.length;
  }
}

/** Reads what there is, and answers the initial_bytes that are left then. */
function infoAfterDrain(context: CheckContext, fd: number): bigint {
  drain(context, fd);
  return infoOf(context, fd).initial_bytes;
}

/** Drains until both counts of the info are 0; null if the device changes too fast for that. */
function drained(context: CheckContext, fd: number): string | null {
  for (let turn = 0; turn < TURNS; turn += 1) {
    const { end } = drain(context, fd);
    const { initial_bytes, dirty_bytes } = infoOf(context, fd);
    if (initial_bytes === 0n && dirty_bytes === 0n) return end;
  }
  return null;
}

/** The checks of pre-copy. */
export const PRECOPY_CHECKS: readonly Check[] = [
  defineCheck({
    id: "v2.precopy.info",
    group,
    rules: [rule(54)],
    needs,
    run: (context) => {
      const { v2 } = context;
      for (const state of [PRE_COPY, PRE_COPY_P2P].filter((one) => hasState(one, v2.flags))) {
        const fd = v2.open(state);
        for (let turn = 0; turn < 3; turn += 1) infoOf(context, fd);
        v2.enter(RUNNING);
        v2.close(fd);
      }
    },
  }),
  defineCheck({
    id: "v2.precopy.info-argsz",
    group,
    rules: [rule(55)],
    needs,
    run: (context) => {
      const answer = context.v2.precopyInfo(context.v2.open(PRE_COPY), { argsz: 23 });
      context.step(`PRECOPY_INFO with argsz 23 → ${answered(answer)}`);
      context.expect(answer.errno === "EINVAL", "it fails with EINVAL", answered(answer));
    },
  }),
  defineCheck({
    id: "v2.precopy.info-outside",
    group,
    rules: [rule(56)],
    needs,
    run: (context) => {
      const { v2 } = context;
      const fd = v2.open(PRE_COPY);
      v2.enter(STOP_COPY);
      const answer = v2.precopyInfo(fd);
      context.step(`PRECOPY_INFO in STOP_COPY → ${answered(answer)}`);
      context.expect(answer.errno === "EINVAL", "it fails with EINVAL", answered(answer));
      v2.enter(RUNNING);
      const after = v2.precopyInfo(fd);
      context.step(`PRECOPY_INFO in RUNNING → ${answered(after)}`);
      context.expect(after.errno !== null, "in RUNNING it fails", "it succeeds");
    },
  }),
  defineCheck({
    id: "v2.precopy.info-argsz-long",
    group,
    rules: [rule(144)],
    needs,
    run: (context) => {
      const { v2, kernel } = context;
      const fd = v2.open(PRE_COPY);
      const room = new Uint8Array(64).fill(CANARY);
      room.set(vfioPrecopyInfo.pack({ flags: 0 }));
      new DataView(room.buffer).setUint32(0, room.length, true);
      const answer = attempt(() => kernel.ioctl(fd, VFIO_MIG_GET_PRECOPY_INFO, room));
      context.step(`PRECOPY_INFO with argsz ${room.length} → ${answered(answer)}`);
      context.expect(answer.errno === null, "it succeeds", answered(answer));
      context.expect(
        room.subarray(vfioPrecopyInfo.size).every((byte) => byte === CANARY),
        "the bytes behind the struct stay",
        "some were written to",
      );
    },
  }),
  defineCheck({
    id: "v2.precopy.end",
    group,
    rules: [rule(44), rule(43), rule(45)],
    needs,
    run: (context) => {
      const { v2, kernel } = context;
      const fd = v2.open(PRE_COPY);
      drain(context, fd);
      v2.enter(STOP_COPY);
      let bytes = 0;
      for (let ends = 0; ends < 3;) {
        const { value, errno } = v2.read(fd);
        context.expect(
          errno !== "ENOMSG",
          "no read in STOP_COPY fails with ENOMSG",
          `after pre-copy a read does, after ${bytes} bytes`,
        );
        context.expect(
          errno === null,
          "each read gives data, or 0 bytes at the end",
          `a read failed with ${errno} after ${bytes} bytes`,
          43,
        );
        if (value!.length === 0) ends += 1;
        context.expect(
          ends === 0 || value!.length === 0,
          "after a read of 0 bytes every read is 0 bytes",
          `one gives ${value!.length} bytes`,
          43,
        );
        bytes += value!.length;
      }
      context.step(`read ${bytes} bytes in STOP_COPY, and 3 times 0 bytes`);
      const events = kernel.poll(fd, POLLIN, 0);
      context.expect((events & POLLIN) !== 0, "POLLIN at the end", `0x${events.toString(16)}`, 45);
    },
  }),
  defineCheck({
    id: "v2.precopy.p2p-fd-goes-on",
    group,
    rules: [rule(34), rule(48)],
    needs: { ...needs, flags: VFIO_MIGRATION_PRE_COPY | VFIO_MIGRATION_P2P },
    run: (context) => {
      const { v2 } = context;
      const fd = v2.open(PRE_COPY);
      for (const state of [PRE_COPY, PRE_COPY_P2P, PRE_COPY]) {
        if (v2.state() !== state) v2.enter(state);
        const { errno } = v2.read(fd, 512);
        context.step(`read in ${stateName(state)} → ${errno ?? "success"}`);
        context.expect(
          errno === null || errno === "ENOMSG",
          `the data_fd can be read in ${stateName(state)}`,
          `a read failed with ${errno}`,
        );
        const info = v2.precopyInfo(fd);
        context.expect(
          info.errno === null,
          `PRECOPY_INFO succeeds in ${stateName(state)}`,
          `it failed with ${info.errno}`,
        );
      }
      v2.enter(PRE_COPY_P2P);
      v2.enter(RUNNING_P2P);
      const { errno } = v2.read(fd, 512);
      context.step(`read in RUNNING_P2P → ${errno ?? "success"}`);
      context.expect(errno !== null, "in RUNNING_P2P a read fails", "it does not", 48);
    },
  }),
  defineCheck({
    id: "v2.precopy.initial-at-begin",
    group,
    rules: [rule(58)],
    needs,
    run: (context) => {
      const { initial_bytes } = infoOf(context, context.v2.open(PRE_COPY));
      context.prefer(initial_bytes > 0n, "initial_bytes is not 0", "it is 0");
    },
  }),
  defineCheck({
    id: "v2.precopy.dirty-at-begin",
    group,
    rules: [rule(60)],
    needs,
    run: (context) => {
      const { dirty_bytes } = infoOf(context, context.v2.open(PRE_COPY));
      context.expect(dirty_bytes === 0n, "dirty_bytes is 0", `it is ${dirty_bytes}`);
    },
  }),
  defineCheck({
    id: "v2.precopy.initial-falls",
    group,
    rules: [rule(59)],
    needs,
    run: (context) => {
      const { v2 } = context;
      const fd = v2.open(PRE_COPY);
      const first = infoOf(context, fd).initial_bytes;
      context.expect(
        infoOf(context, fd).initial_bytes <= first,
        "initial_bytes does not grow while nothing is read",
        "it grows",
      );
      let last = first;
      let read = 0n;
      // An eighth at a time: what is left has to fall before all of it was read.
      const step = Math.max(1, Math.min(READ_BYTES, Number(first / 8n)));
      for (let turn = 0; turn < 4; turn += 1) {
        const { value } = v2.read(fd, step);
        if (value === null || value.length === 0) break;
        read += BigInt(value.length);
        const { initial_bytes } = infoOf(context, fd);
        context.expect(
          initial_bytes <= last,
          `initial_bytes is at most ${last}`,
          `it is ${initial_bytes}`,
        );
        last = initial_bytes;
      }
      context.prefer(
        first < JUDGED_BYTES || read * 4n < first || last < first,
        `after ${read} of ${first} initial bytes were read, initial_bytes is less`,
        `it is still ${last}`,
      );
      // A device that is reinitialised meanwhile has new initial data.
      for (let turn = 1; infoAfterDrain(context, fd) > 0n; turn += 1) {
        context.expect(
          turn < TURNS,
          "initial_bytes is 0 once all data was read",
          "it is not, however often the data is read",
        );
      }
    },
  }),
  defineCheck({
    id: "v2.precopy.drained",
    group,
    rules: [rule(61)],
    needs,
    run: (context) => {
      const { v2 } = context;
      const fd = v2.open(PRE_COPY);
      if (drained(context, fd) === null) {
        context.unclear("the device changes faster than its data is read");
      }
      const { value, errno } = v2.read(fd);
      context.step(`read with both counts at 0 → ${errno ?? `${value!.length} bytes`}`);
      context.expect(
        errno === null || errno === "ENOMSG",
        "it fails with ENOMSG",
        `it failed with ${errno}`,
      );
      context.prefer(
        errno === "ENOMSG" || value!.length > 0,
        "it fails with ENOMSG",
        "it gives 0 bytes, as at the end of STOP_COPY",
      );
    },
  }),
  defineCheck({
    id: "v2.precopy.counts",
    group,
    rules: [rule(135)],
    needs,
    run: (context) => {
      const { v2 } = context;
      const fd = v2.open(PRE_COPY);
      const { initial_bytes, dirty_bytes } = infoOf(context, fd);
      const said = initial_bytes + dirty_bytes;
      const { bytes } = drain(context, fd);
      context.prefer(
        said < JUDGED_BYTES || BigInt(bytes) * 4n <= said * 5n + JUDGED_BYTES,
        `about the ${said} bytes that the info counts`,
        `${bytes} bytes came`,
      );
      for (let turn = 1;; turn += 1) {
        const left = infoOf(context, fd);
        const counted = left.initial_bytes + left.dirty_bytes;
        if (counted === 0n) return;
        const { value, errno } = v2.read(fd);
        if (value !== null && value.length > 0) return;
        context.expect(
          turn < TURNS,
          `the ${counted} bytes that the info counts can be read`,
          `each read gives ${errno ?? "0 bytes"}`,
        );
      }
    },
  }),
  defineCheck({
    id: "v2.precopy.poll",
    group,
    rules: [rule(62)],
    needs,
    run: (context) => {
      const { v2, kernel } = context;
      const fd = v2.open(PRE_COPY);
      if (drained(context, fd) === null) {
        context.unclear("the device changes faster than its data is read");
      }
      const events = kernel.poll(fd, POLLIN, 0);
      context.step(`poll with nothing to read → 0x${events.toString(16)}`);
      const idle = (events & POLLIN) === 0 || (v2.read(fd).value?.length ?? 0) > 0;
      context.prefer(idle, "poll waits", "it reports POLLIN at once, so a program spins");
      for (let waited = 0; waited < CHANGE_MS; waited += 100) {
        context.pause(100);
        const { dirty_bytes, initial_bytes } = infoOf(context, fd);
        if (dirty_bytes + initial_bytes === 0n) continue;
        const woken = kernel.poll(fd, POLLIN, CHANGE_MS);
        context.step(`poll with data to read → 0x${woken.toString(16)}`);
        context.expect((woken & POLLIN) !== 0, "POLLIN", `0x${woken.toString(16)}`);
        return;
      }
    },
  }),
  defineCheck({
    id: "v2.precopy.flags",
    group,
    rules: [rule(63)],
    needs,
    run: (context) => {
      const { flags } = infoOf(context, context.v2.open(PRE_COPY));
      context.prefer(flags === 0, "flags is 0, as passed", `it is 0x${flags.toString(16)}`);
    },
  }),
  defineCheck({
    id: "v2.precopy.reinit",
    group,
    safety: "reset",
    rules: [rule(64)],
    // Only closing the device ends the opt-in.
    needs: { ...needs, features: [VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2], closable: true },
    run: (context) => {
      const { v2 } = context;
      const opted = v2.feature(VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2);
      context.step(`SET MIG_PRECOPY_INFOv2 → ${answered(opted)}`);
      context.expect(opted.errno === null, "it succeeds", answered(opted));
      const fd = v2.open(PRE_COPY);
      for (let turn = 0; turn < TURNS; turn += 1) {
        drain(context, fd);
        const { flags, initial_bytes, dirty_bytes } = infoOf(context, fd);
        if ((flags & VFIO_PRECOPY_INFO_REINIT) === 0) continue;
        context.expect(initial_bytes > 0n, "initial_bytes is not 0", "it is 0");
        context.expect(dirty_bytes === 0n, "dirty_bytes is 0", `it is ${dirty_bytes}`);
      }
      context.reopen();
    },
  }),
  defineCheck({
    id: "v2.precopy.again",
    group,
    rules: [rule(65), rule(48)],
    needs,
    run: (context) => {
      const { v2 } = context;
      const { errno: refused, dataFd: old } = v2.set(PRE_COPY);
      context.expect(refused === null && old >= 0, "pre-copy begins", refused ?? "no data_fd");
      v2.read(old, 4096);
      v2.enter(RUNNING);
      const { errno, dataFd } = v2.set(PRE_COPY);
      context.expect(
        errno === null && dataFd >= 0,
        "a second session of pre-copy begins",
        errno ?? "it gives no data_fd",
      );
      infoOf(context, dataFd);
      const { errno: failed } = v2.read(dataFd, 4096);
      context.expect(
        failed === null || failed === "ENOMSG",
        "its data can be read",
        `a read failed with ${failed}`,
      );
      context.step(`read in ${stateName(PRE_COPY)} again`);
      v2.close(dataFd);
      v2.enter(RUNNING);
      expectDead(context, old, "of the first session's data_fd");
    },
  }),
  defineCheck({
    id: "v2.precopy.fd-goes-on",
    group,
    rules: [rule(33)],
    needs,
    run: (context) => {
      const { v2 } = context;
      const fd = v2.open(PRE_COPY);
      v2.read(fd, 4096);
      v2.enter(STOP_COPY);
      const { value, errno } = v2.read(fd);
      context.step(`read in STOP_COPY → ${errno ?? `${value!.length} bytes`}`);
      context.expect(
        errno === null,
        "the data_fd of pre-copy gives the data of STOP_COPY",
        `a read failed with ${errno}`,
      );
      v2.readAll(fd);
    },
  }),
];
