/**
 * The data of STOP_COPY: its end, its reads, and the fd that gives it.
 *
 * @module
 */

import { POLLIN } from "../../kernel/kernel.ts";
import { VFIO_DEVICE_FEATURE_MIG_DATA_SIZE } from "../../uapi/mod.ts";
import { answered, attempt } from "../attempt.ts";
import type { CheckContext } from "../context.ts";
import { type Check, defineCheck, type Needs } from "../define.ts";
import { rule } from "../rules.ts";
import { difference, streamOf } from "../state_bytes.ts";
import { ERROR, PRE_COPY, RUNNING, stateName, STOP, STOP_COPY } from "../v2/states.ts";
import { READ_BYTES, type Stream, type V2Device } from "../v2/v2_device.ts";

const group = "stop-copy";
const needs: Needs = { protocol: "v2" };
/** A request that no header defines. */
const UNKNOWN_REQUEST = 0x3bff;
/** Sizes of reads, in turn. */
const READ_SIZES: readonly number[] = [1, 13, 63, 4095, 4096, 65536, READ_BYTES];

/** A session of STOP_COPY without running before or after it. */
export function saveStopped(
  context: CheckContext,
  v2: V2Device = context.v2,
  sizes?: readonly number[],
): Stream {
  const fd = v2.open(STOP_COPY);
  const stream = v2.readAll(fd, sizes);
  v2.close(fd);
  v2.enter(STOP);
  return stream;
}

/** Two saves of a stopped device that are equal; else the check cannot judge by them. */
export function reference(context: CheckContext): Stream {
  context.v2.enter(STOP);
  const first = saveStopped(context);
  const again = difference(first, saveStopped(context));
  if (again !== null) context.unclear(`two saves of the stopped device differ: ${again}`);
  return first;
}

/** Judges a read that has to fail. */
export function expectDead(context: CheckContext, fd: number, when: string): void {
  const { value, errno } = context.v2.read(fd, 4096);
  context.step(`read ${when} → ${errno ?? `${value!.length} bytes`}`);
  context.expect(
    errno !== null,
    `a read ${when} fails`,
    value?.length === 0 ? "it gives 0 bytes, as at the end" : `it gives ${value?.length} bytes`,
  );
}

/** What leaves a data_fd as it is. */
const KEEPING: readonly (readonly [name: string, what: string, ask: (v2: V2Device) => void])[] = [
  ["after-refusal", "after SETs that are refused", (v2) => {
    for (const state of [ERROR, 8, PRE_COPY]) v2.set(state);
  }],
  ["after-same-state", "after a SET of the present state", (v2) => void v2.set(STOP_COPY)],
];

/** The checks of STOP_COPY. */
export const STOP_COPY_CHECKS: readonly Check[] = [
  defineCheck({
    id: "v2.data.end",
    group,
    rules: [rule(43), rule(44)],
    needs,
    run: (context) => {
      const { v2 } = context;
      const fd = v2.open(STOP_COPY);
      let bytes = 0;
      let ends = 0;
      while (ends < 4) {
        const { value, errno } = v2.read(fd);
        context.expect(
          errno !== "ENOMSG",
          "no read in STOP_COPY fails with ENOMSG",
          `a read did after ${bytes} bytes`,
          44,
        );
        context.expect(
          errno === null,
          "each read gives data, or 0 bytes at the end",
          `a read failed with ${errno} after ${bytes} bytes`,
        );
        if (value!.length === 0) ends += 1;
        else {
          context.expect(
            ends === 0,
            "after a read of 0 bytes every read is 0 bytes",
            `read ${ends + 1} after the end gives ${value!.length} bytes`,
          );
          bytes += value!.length;
        }
      }
      context.step(`read ${bytes} bytes, and 4 times 0 bytes`);
    },
  }),
  defineCheck({
    id: "v2.data.end-poll",
    group,
    rules: [rule(45)],
    needs,
    run: (context) => {
      const { v2, kernel } = context;
      const fd = v2.open(STOP_COPY);
      v2.readAll(fd);
      const events = kernel.poll(fd, POLLIN, 0);
      context.step(`poll at the end → 0x${events.toString(16)}`);
      context.expect((events & POLLIN) !== 0, "POLLIN", `0x${events.toString(16)}`);
    },
  }),
  defineCheck({
    id: "v2.data.read-sizes",
    group,
    rules: [rule(46)],
    needs,
    run: (context) => {
      const whole = reference(context);
      const found = difference(whole, saveStopped(context, context.v2, READ_SIZES));
      context.expect(
        found === null,
        `reads of ${READ_SIZES.join(", ")} bytes give the ${whole.bytes} bytes of larger ones`,
        found ?? "",
      );
    },
  }),
  defineCheck({
    id: "v2.data.twice",
    group,
    rules: [rule(47)],
    needs,
    run: (context) => {
      context.v2.enter(STOP);
      const found = difference(saveStopped(context), saveStopped(context));
      context.prefer(found === null, "two saves of the stopped device are equal", found ?? "");
    },
  }),
  defineCheck({
    id: "v2.data.after-leaving",
    group,
    rules: [rule(48)],
    needs,
    run: (context) => {
      const { v2 } = context;
      const fd = v2.open(STOP_COPY);
      context.step(`read 1 byte → ${answered(v2.read(fd, 1))}`);
      v2.enter(STOP);
      expectDead(context, fd, "in STOP");
      v2.enter(RUNNING);
      expectDead(context, fd, "in RUNNING");
    },
  }),
  defineCheck({
    id: "v2.data.old-fd",
    group,
    rules: [rule(49), rule(48)],
    needs,
    run: (context) => {
      const { v2 } = context;
      const whole = reference(context);
      const old = v2.open(STOP_COPY);
      v2.read(old, 16);
      v2.enter(STOP);
      const { errno, dataFd } = v2.set(STOP_COPY);
      context.expect(
        errno === null && dataFd >= 0,
        "a new session begins although the old data_fd is open",
        errno ?? "it gives no data_fd",
      );
      expectDead(context, old, "of the old data_fd");
      const found = difference(whole, v2.readAll(dataFd));
      context.expect(found === null, "the new session gives the whole state", found ?? "");
    },
  }),
  defineCheck({
    id: "v2.data.early-close",
    group,
    rules: [rule(53)],
    needs,
    run: (context) => {
      const { v2 } = context;
      const fd = v2.open(STOP_COPY);
      v2.read(fd, 16);
      context.step("read 16 bytes, close the data_fd");
      v2.close(fd);
      for (const state of [STOP, RUNNING]) {
        const { errno } = v2.set(state);
        context.expect(errno === null, `the SET of ${stateName(state)} succeeds`, `${errno}`);
      }
      const whole = reference(context);
      v2.close(v2.open(STOP_COPY));
      v2.enter(STOP);
      const found = difference(whole, saveStopped(context));
      context.expect(found === null, "the next session gives the whole state", found ?? "");
    },
  }),
  ...KEEPING.map(([name, what, ask]) =>
    defineCheck({
      id: `v2.data.${name}`,
      group,
      rules: [rule(146)],
      needs,
      run: (context) => {
        const { v2 } = context;
        const whole = reference(context);
        const fd = v2.open(STOP_COPY);
        const first = v2.read(fd, 100);
        if (first.errno !== null) context.unclear(`a read failed with ${first.errno}`);
        ask(v2);
        const chunks = [first.value!.slice()];
        for (;;) {
          const { value, errno } = v2.read(fd);
          context.expect(errno === null, `${what}, the data_fd can be read`, `${errno}`);
          if (value!.length === 0) break;
          chunks.push(value!.slice());
        }
        const found = difference(whole, streamOf(...chunks));
        context.expect(found === null, `${what}, the data goes on`, found ?? "");
      },
    })
  ),
  defineCheck({
    id: "v2.data.cloexec",
    group,
    rules: [rule(36)],
    needs,
    run: (context) => {
      const { v2, kernel } = context;
      const fd = v2.open(STOP_COPY);
      const { value } = attempt(() => kernel.readText(`/proc/self/fdinfo/${fd}`));
      const flags = /^flags:\s*([0-7]+)/m.exec(value ?? "")?.[1];
      if (flags === undefined) context.skip("/proc does not show the data_fd's flags");
      context.step(`/proc/self/fdinfo says flags ${flags}`);
      context.expect(
        (parseInt(flags!, 8) & 0o2000000) !== 0,
        "O_CLOEXEC is set",
        `the flags are 0${flags}`,
      );
    },
  }),
  defineCheck({
    id: "v2.data.stream",
    group,
    rules: [rule(37)],
    needs,
    run: (context) => {
      const { v2, kernel } = context;
      const fd = v2.open(STOP_COPY);
      const answer = attempt(() => kernel.pread(fd, new Uint8Array(16), 0));
      context.step(`pread at offset 0 → ${answered(answer)}`);
      context.expect(answer.errno !== null, "it fails with ESPIPE", "it succeeds");
      context.prefer(answer.errno === "ESPIPE", "it fails with ESPIPE", `${answer.errno}`);
    },
  }),
  defineCheck({
    id: "v2.data.unknown-ioctl",
    group,
    rules: [rule(57), rule(56)],
    needs,
    run: (context) => {
      const { v2, kernel } = context;
      const fd = v2.open(STOP_COPY);
      const answer = attempt(() => kernel.ioctl(fd, UNKNOWN_REQUEST, new Uint8Array(64)));
      context.step(`ioctl 0x${UNKNOWN_REQUEST.toString(16)} → ${answered(answer)}`);
      context.expect(answer.errno === "ENOTTY", "it fails with ENOTTY", answered(answer));
      const info = v2.precopyInfo(fd);
      context.step(`PRECOPY_INFO of a session without pre-copy → ${answered(info)}`);
      context.expect(info.errno !== null, "PRECOPY_INFO is refused", "it succeeds", 56);
    },
  }),
  defineCheck({
    id: "v2.data.no-writes",
    group,
    rules: [rule(136)],
    needs,
    run: (context) => {
      const { v2 } = context;
      const answer = v2.write(v2.open(STOP_COPY), new Uint8Array(16));
      context.step(`write to the data_fd of a save → ${answered(answer)}`);
      context.expect(answer.errno !== null, "it fails", "it succeeds");
    },
  }),
  defineCheck({
    id: "v2.data.duplicate",
    group,
    rules: [rule(133)],
    needs,
    run: (context) => {
      const { v2, kernel } = context;
      const whole = reference(context);
      const fd = v2.open(STOP_COPY);
      const twin = kernel.memfd("vfiokit-check", 0);
      try {
        kernel.dup3(fd, twin);
        const chunks: Uint8Array<ArrayBuffer>[] = [];
        for (let turn = 0;; turn += 1) {
          const { value, errno } = v2.read(turn % 2 === 0 ? fd : twin, 4096);
          context.expect(errno === null, "each read succeeds", `a read failed with ${errno}`);
          if (value!.length === 0) break;
          chunks.push(value!.slice());
        }
        context.step("read by the data_fd and by its duplicate in turn");
        const found = difference(whole, streamOf(...chunks));
        context.expect(found === null, "together they give the whole state", found ?? "");
      } finally {
        kernel.close(twin);
      }
    },
  }),
  defineCheck({
    id: "v2.data.state-while-reading",
    group,
    rules: [rule(138)],
    needs,
    run: (context) => {
      const { v2 } = context;
      const fd = v2.open(STOP_COPY);
      for (let turn = 0; turn < 8; turn += 1) {
        v2.read(fd, 4096);
        const { value, errno } = v2.get();
        context.expect(
          value?.state === STOP_COPY,
          "GET answers STOP_COPY between two reads",
          errno ?? `it answers ${stateName(value?.state ?? 0)}`,
        );
      }
      context.step("read 8 times, with a GET after each");
    },
  }),
  defineCheck({
    id: "v2.data-size.estimate",
    group: "data-size",
    rules: [rule(52)],
    needs: { ...needs, features: [VFIO_DEVICE_FEATURE_MIG_DATA_SIZE] },
    run: (context) => {
      const { v2 } = context;
      const estimates = [RUNNING, STOP].map((state) => {
        if (state !== RUNNING) v2.enter(state);
        const { value, errno } = v2.dataSize();
        context.expect(value !== null, "GET MIG_DATA_SIZE succeeds", `it failed with ${errno}`);
        return [stateName(state), value!] as const;
      });
      const { bytes } = saveStopped(context);
      for (const [state, said] of estimates) {
        context.step(`in ${state} MIG_DATA_SIZE says ${said}, STOP_COPY gives ${bytes} bytes`);
        context.prefer(
          Number(said) >= bytes / UNDER && Number(said) <= OVER * bytes + SLACK,
          `in ${state} ${Math.ceil(bytes / UNDER)} to ${OVER * bytes + SLACK}`,
          `${said}`,
        );
      }
    },
  }),
];

/** How far an estimate may be below and above what comes. */
const UNDER = 2;
const OVER = 4;
/** Estimates come in whole pages and buffers. */
const SLACK = 65536;
