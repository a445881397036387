/**
 * What a device writes to memory: nothing while it is stopped, and as ever in RUNNING_P2P.
 *
 * @module
 */

import { VFIO_MIGRATION_P2P, VFIO_MIGRATION_PRE_COPY } from "../../uapi/mod.ts";
import { hasState } from "../../vfio/state/v2_plan.ts";
import type { CheckContext } from "../context.ts";
import { type Check, defineCheck } from "../define.ts";
import { rule } from "../rules.ts";
import { DmaWindow } from "../dma_window.ts";
import {
  PRE_COPY,
  PRE_COPY_P2P,
  RUNNING,
  RUNNING_P2P,
  stateName,
  STOP,
  STOP_COPY,
} from "../v2/states.ts";
import {
  PRE_COPY as V1_PRE_COPY,
  RUNNING as V1_RUNNING,
  STOP as V1_STOP,
  STOP_AND_COPY,
  v1StateName,
} from "../v1/v1_device.ts";

const group = "dma";
/** How long memory is watched, in milliseconds. */
const WATCH_MS = 300;
/** How long a device that runs may take to write again, in milliseconds. */
const BUSY_MS = 2000;

/** Memory that the device was seen to write to; skips if it does not. */
function busyWindow(context: CheckContext): DmaWindow {
  const memory = DmaWindow.map(context);
  try {
    memory.demandWrites(WATCH_MS);
    return memory;
  } catch (error) {
    memory.close();
    throw error;
  }
}

/** Judges that a stopped device writes nothing. */
function expectQuiet(context: CheckContext, memory: DmaWindow, state: string): void {
  // What was under way when the device stopped has come to its end with the step.
  const changed = memory.changes(WATCH_MS);
  context.expect(!changed, `no memory changes in ${state}`, "the device writes to memory");
}

/** Judges that a device which runs goes on writing. */
function expectBusy(context: CheckContext, memory: DmaWindow, state: string): void {
  const changed = memory.changes(BUSY_MS);
  context.expect(changed, `in ${state} the device writes to memory`, "it writes nothing");
}

/** The checks of DMA. */
export const DMA_CHECKS: readonly Check[] = [
  defineCheck({
    id: "v2.dma.runs-again",
    group,
    rules: [rule(148)],
    needs: { protocol: "v2", dma: true, load: true },
    run: (context) => {
      using memory = busyWindow(context);
      for (const state of [STOP, STOP_COPY]) {
        context.v2.enter(state);
        context.v2.enter(RUNNING);
        expectBusy(context, memory, `RUNNING after ${stateName(state)}`);
      }
    },
  }),
  defineCheck({
    id: "v2.dma.stopped",
    group,
    rules: [rule(40)],
    needs: { protocol: "v2", dma: true, load: true },
    run: (context) => {
      using memory = busyWindow(context);
      for (const state of [STOP, STOP_COPY]) {
        context.v2.enter(state);
        expectQuiet(context, memory, stateName(state));
        context.v2.enter(RUNNING);
      }
    },
  }),
  defineCheck({
    id: "v2.dma.precopy",
    group,
    rules: [rule(149)],
    needs: { protocol: "v2", flags: VFIO_MIGRATION_PRE_COPY, dma: true, load: true },
    run: (context) => {
      using memory = busyWindow(context);
      const states = [PRE_COPY, PRE_COPY_P2P].filter((one) => hasState(one, context.v2.flags));
      for (const state of states) {
        context.v2.enter(state);
        expectBusy(context, memory, stateName(state));
      }
    },
  }),
  defineCheck({
    id: "v2.dma.p2p",
    group,
    rules: [rule(139)],
    needs: { protocol: "v2", flags: VFIO_MIGRATION_P2P, dma: true, load: true },
    run: (context) => {
      using memory = busyWindow(context);
      context.v2.enter(RUNNING_P2P);
      expectBusy(context, memory, "RUNNING_P2P");
    },
  }),
  defineCheck({
    id: "v1.dma.runs-again",
    group,
    rules: [rule(148)],
    needs: { protocol: "v1", dma: true, load: true },
    run: (context) => {
      using memory = busyWindow(context);
      for (const state of [V1_STOP, STOP_AND_COPY]) {
        context.v1.enter(state);
        context.v1.enter(V1_RUNNING);
        expectBusy(context, memory, `RUNNING after ${v1StateName(state)}`);
      }
    },
  }),
  defineCheck({
    id: "v1.dma.precopy",
    group,
    rules: [rule(149)],
    needs: { protocol: "v1", dma: true, load: true },
    run: (context) => {
      using memory = busyWindow(context);
      context.v1.enter(V1_PRE_COPY);
      expectBusy(context, memory, "pre-copy");
    },
  }),
  defineCheck({
    id: "v1.dma.stopped",
    group,
    rules: [rule(40)],
    needs: { protocol: "v1", dma: true, load: true },
    run: (context) => {
      using memory = busyWindow(context);
      for (const [state, name] of [[V1_STOP, "STOP"], [STOP_AND_COPY, "stop-and-copy"]] as const) {
        context.v1.enter(state);
        expectQuiet(context, memory, name);
        context.v1.enter(V1_RUNNING);
      }
    },
  }),
];
