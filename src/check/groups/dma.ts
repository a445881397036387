/**
 * What a device writes to memory: nothing while it is stopped, and as ever in RUNNING_P2P.
 *
 * @module
 */

import { VFIO_MIGRATION_P2P } from "../../uapi/mod.ts";
import type { CheckContext } from "../context.ts";
import { type Check, defineCheck } from "../define.ts";
import { rule } from "../rules.ts";
import { DmaWindow } from "../dma_window.ts";
import { RUNNING, RUNNING_P2P, stateName, STOP, STOP_COPY } from "../v2/states.ts";
import { RUNNING as V1_RUNNING, STOP as V1_STOP, STOP_AND_COPY } from "../v1/v1_device.ts";

/** How long memory is watched, in milliseconds. */
const WATCH_MS = 300;

/** Memory that the device was seen to write to; skips if it does not. */
function busyWindow(context: CheckContext): DmaWindow {
  const memory = DmaWindow.map(context);
  if (!memory.changes(WATCH_MS)) {
    memory.close();
    context.skip("the device writes to no memory by itself");
  }
  return memory;
}

/** Judges that a stopped device writes nothing. */
function expectQuiet(context: CheckContext, memory: DmaWindow, state: string): void {
  // What was under way when the device stopped has come to its end with the step.
  const changed = memory.changes(WATCH_MS);
  context.expect(!changed, `no memory changes in ${state}`, "the device writes to memory");
}

/** The checks of DMA. */
export const DMA_CHECKS: readonly Check[] = [
  defineCheck({
    id: "v2.dma.stopped",
    group: "stop-copy",
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
    id: "v2.dma.p2p",
    group: "p2p",
    rules: [rule(139)],
    needs: { protocol: "v2", flags: VFIO_MIGRATION_P2P, dma: true, load: true },
    run: (context) => {
      using memory = busyWindow(context);
      context.v2.enter(RUNNING_P2P);
      context.expect(
        memory.changes(WATCH_MS),
        "in RUNNING_P2P the device goes on writing to memory",
        "it writes nothing",
      );
    },
  }),
  defineCheck({
    id: "v1.dma.stopped",
    group: "v1",
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
