/**
 * Data fds with O_NONBLOCK, and poll.
 *
 * @module
 */

import { FIONBIO, POLLIN } from "../../kernel/kernel.ts";
import { interruptibleThread } from "../../kernel/process/interrupt.ts";
import { attempt } from "../attempt.ts";
import type { CheckContext } from "../context.ts";
import { type Check, defineCheck, type Needs } from "../define.ts";
import { rule } from "../rules.ts";
import { difference, streamOf } from "../state_bytes.ts";
import type { SecondThread } from "../thread/second_thread.ts";
import { STOP_COPY } from "../v2/states.ts";
import { reference } from "./stop_copy.ts";

const group = "nonblocking";
const needs: Needs = { protocol: "v2" };
/** How long poll may take to report data, in milliseconds. */
const POLL_MS = 5000;
/** How long the thread that sends signals may take to begin and to end, in milliseconds. */
const END_MS = 5000;

/** The checks of data fds that do not block. */
export const NONBLOCKING_CHECKS: readonly Check[] = [
  defineCheck({
    id: "v2.nonblocking.blocking-read",
    group,
    rules: [rule(50)],
    needs,
    run: (context) => {
      const { v2 } = context;
      const fd = v2.open(STOP_COPY);
      for (let turn = 0; turn < 4; turn += 1) {
        const { errno } = v2.read(fd, 4096);
        context.expect(
          errno !== "EAGAIN",
          "without O_NONBLOCK a read waits for data",
          `read ${turn + 1} failed with EAGAIN`,
        );
      }
      context.step("read 4 times without O_NONBLOCK");
    },
  }),
  defineCheck({
    id: "v2.nonblocking.poll",
    group,
    rules: [rule(50)],
    needs,
    run: (context) => {
      const { v2, kernel } = context;
      const fd = v2.open(STOP_COPY);
      const events = kernel.poll(fd, POLLIN, POLL_MS);
      context.step(`poll in STOP_COPY → 0x${events.toString(16)}`);
      context.expect(
        (events & POLLIN) !== 0,
        `poll reports POLLIN within ${POLL_MS / 1000} s: there is data`,
        `it reports 0x${events.toString(16)}`,
      );
    },
  }),
  defineCheck({
    id: "v2.nonblocking.read",
    group,
    rules: [rule(50)],
    needs,
    run: (context) => {
      const { v2, kernel } = context;
      const whole = reference(context);
      const fd = v2.open(STOP_COPY);
      const { errno: refused } = attempt(() => kernel.ioctl(fd, FIONBIO, intArgument(1)));
      if (refused !== null) context.unclear(`FIONBIO failed with ${refused}`);
      const chunks: Uint8Array<ArrayBuffer>[] = [];
      let waits = 0;
      for (;;) {
        const { value, errno } = v2.read(fd);
        if (errno === "EAGAIN") {
          waits += 1;
          const events = kernel.poll(fd, POLLIN, POLL_MS);
          context.expect(
            events !== 0,
            `after EAGAIN poll reports data within ${POLL_MS / 1000} s`,
            "it reports nothing",
          );
          continue;
        }
        context.expect(errno === null, "a read gives data, or EAGAIN", `it failed with ${errno}`);
        if (value!.length === 0) break;
        chunks.push(value!.slice());
      }
      context.step(`read to the end with O_NONBLOCK; it waited ${waits} times`);
      const found = difference(whole, streamOf(...chunks));
      context.expect(found === null, "the bytes are those of reads that wait", found ?? "");
    },
  }),
  defineCheck({
    id: "v2.signals.interrupted-reads",
    group: "signals",
    rules: [rule(51)],
    needs: { ...needs, signals: true },
    run: (context) => {
      const { v2 } = context;
      const whole = reference(context);
      const fd = v2.open(STOP_COPY);
      const signals = beginSignals(context);
      const chunks: Uint8Array<ArrayBuffer>[] = [];
      let interrupted = 0;
      try {
        for (;;) {
          const { value, errno } = v2.read(fd, 1024);
          if (errno === "EINTR") {
            interrupted += 1;
            continue;
          }
          context.expect(errno === null, "a read gives data, or EINTR", `it failed with ${errno}`);
          if (value!.length === 0) break;
          chunks.push(value!.slice());
        }
      } finally {
        const sent = signals?.end(END_MS)?.calls ?? 0;
        if (signals !== null) context.step(`${sent} signals were sent to this thread meanwhile`);
      }
      context.step(`read to the end; ${interrupted} reads were interrupted`);
      const found = difference(whole, streamOf(...chunks));
      context.expect(found === null, "an interrupted read loses no byte", found ?? "");
      if (signals === null && interrupted === 0) {
        context.skip("no signal reaches the driver: its calls are no system calls of this thread");
      }
    },
  }),
];

/** Has the second thread send signals to this one; null on a kernel that they do not reach. */
function beginSignals(context: CheckContext): SecondThread | null {
  const { secondThread } = context;
  if (secondThread === null) return null;
  const thread = interruptibleThread() ??
    context.skip("this libc has no dlsym, by which a handler of signals is found");
  secondThread.begin("interrupt", thread);
  secondThread.calling(END_MS);
  return secondThread;
}

function intArgument(value: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setInt32(0, value, true);
  return bytes;
}
