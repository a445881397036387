/**
 * Reset from every state, the ERROR state, and closing the device.
 *
 * @module
 */

import { flagsFor } from "../../vfio/state/v2_plan.ts";
import type { CheckContext } from "../context.ts";
import { type Check, defineCheck, type Needs } from "../define.ts";
import { rule } from "../rules.ts";
import { foreignBytes, streamOf } from "../state_bytes.ts";
import {
  ERROR,
  isPreCopy,
  RESUMING,
  RUNNING,
  stateName,
  STATES,
  STOP,
  STOP_COPY,
} from "../v2/states.ts";
import { expectDead } from "./stop_copy.ts";

const needs: Needs = { protocol: "v2", resettable: true };

/** Brings the device into a state; into RESUMING without data. */
function enterAny({ v2 }: CheckContext, state: number): number {
  return state === RUNNING ? -1 : v2.enter(state);
}

function resetCheck(state: number): Check {
  return defineCheck({
    id: `v2.reset.in-${stateName(state).toLowerCase()}`,
    group: "error",
    safety: "reset",
    rules: state === RUNNING ? [rule(137)] : [rule(78), rule(79), rule(153)],
    needs: { ...needs, flags: flagsFor(state) },
    run: (context) => {
      const { v2 } = context;
      const fd = enterAny(context, state);
      const errno = v2.reset();
      context.expect(errno === null, "VFIO_DEVICE_RESET succeeds", `it failed with ${errno}`);
      const after = v2.state();
      context.expect(after === RUNNING, "GET answers RUNNING", `it answers ${stateName(after)}`);
      if (fd < 0) return;
      const reads = isPreCopy(state) || state === STOP_COPY;
      const answer = reads ? v2.read(fd, 16) : v2.write(fd, new Uint8Array(16));
      context.step(`${reads ? "read" : "write"} after the reset → ${answer.errno ?? "success"}`);
      context.expect(answer.errno !== null, "the data_fd gives an error", "it does not", 79);
      expectSession(context, "after the reset", 153);
    },
  });
}

/** Judges that a state can be saved as ever. */
function expectSession(context: CheckContext, when: string, broken: number): void {
  const { v2 } = context;
  const { errno, dataFd } = v2.set(STOP_COPY);
  context.expect(
    errno === null && dataFd >= 0,
    `${when} STOP_COPY is entered, with a data_fd`,
    errno ?? "it gives no data_fd",
    broken,
  );
  const { errno: failed } = v2.read(dataFd);
  context.expect(failed === null, `${when} the state can be read`, `${failed}`, broken);
  const back = v2.set(RUNNING);
  context.expect(
    back.errno === null,
    `${when} the SET of RUNNING succeeds`,
    `${back.errno}`,
    broken,
  );
}

function closeCheck(state: number): Check {
  return defineCheck({
    id: `v2.close.in-${stateName(state).toLowerCase()}`,
    group: "close",
    safety: "reset",
    rules: [rule(42)],
    needs: { protocol: "v2", closable: true, flags: flagsFor(state) },
    run: (context) => {
      enterAny(context, state);
      context.reopen();
      const after = context.v2.state();
      context.expect(after === RUNNING, "GET answers RUNNING", `it answers ${stateName(after)}`);
      expectSession(context, "after the next open", 42);
    },
  });
}

/** Tries to bring the device to ERROR: a driver goes there only if something failed. */
function reachError(context: CheckContext): boolean {
  const { v2 } = context;
  const ways: readonly (() => void)[] = [
    () => void v2.set(STOP),
    () => {
      const { dataFd } = v2.set(RESUMING);
      if (dataFd >= 0) v2.writeAll(dataFd, streamOf(foreignBytes(65536)));
      v2.set(STOP);
    },
    () => {
      v2.set(RESUMING);
      v2.set(STOP);
    },
  ];
  for (const way of ways) {
    way();
    if (v2.get().value?.state === ERROR) return true;
    v2.reset();
  }
  return false;
}

/** The checks of reset, ERROR and close. */
export const ERROR_CHECKS: readonly Check[] = [
  ...STATES.map(resetCheck),
  ...STATES.map(closeCheck),
  defineCheck({
    id: "v2.reset.data-fd",
    group: "error",
    safety: "reset",
    rules: [rule(79)],
    needs,
    run: (context) => {
      const { v2 } = context;
      const fd = v2.open(STOP_COPY);
      v2.read(fd, 16);
      v2.reset();
      expectDead(context, fd, "after the reset");
    },
  }),
  defineCheck({
    id: "v2.close.data-fd",
    group: "close",
    safety: "reset",
    rules: [rule(152)],
    needs: { protocol: "v2", closable: true },
    run: (context) => {
      const { v2, kernel } = context;
      const fd = v2.open(STOP_COPY);
      // A duplicate, which stays open: the data_fd itself is closed with the device.
      const twin = kernel.memfd("vfiokit-check", 0);
      try {
        kernel.dup3(fd, twin);
        v2.read(twin, 16);
        context.reopen();
        expectDead(context, twin, "after the device was closed");
        // A driver that keeps its state is judged for that by other checks.
        if (v2.state() !== RUNNING) v2.enter(RUNNING);
        expectSession(context, "with the old data_fd open", 152);
      } finally {
        kernel.close(twin);
      }
    },
  }),
  defineCheck({
    id: "v2.error.left-by-reset-alone",
    group: "error",
    safety: "destructive",
    rules: [rule(80)],
    needs,
    run: (context) => {
      const { v2 } = context;
      if (!reachError(context)) context.skip("no way into ERROR was found");
      for (const state of STATES) {
        const { errno } = v2.set(state);
        context.expect(
          errno !== null,
          `in ERROR the SET of ${stateName(state)} fails`,
          "it succeeds",
        );
        const after = v2.state();
        context.expect(after === ERROR, "the device stays in ERROR", stateName(after));
      }
      const errno = v2.reset();
      context.expect(errno === null, "VFIO_DEVICE_RESET succeeds", `it failed with ${errno}`);
      const after = v2.state();
      context.expect(after === RUNNING, "GET answers RUNNING", `it answers ${stateName(after)}`);
    },
  }),
];
