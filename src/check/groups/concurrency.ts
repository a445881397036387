/**
 * Two threads at one device.
 *
 * @module
 */

import type { CheckContext } from "../context.ts";
import { type Check, defineCheck, type Needs } from "../define.ts";
import { rule } from "../rules.ts";
import { difference } from "../state_bytes.ts";
import type { SecondThread } from "../thread/second_thread.ts";
import { RUNNING, stateName, STOP, STOP_COPY } from "../v2/states.ts";
import { reference } from "./stop_copy.ts";

const group = "concurrency";
const needs: Needs = { protocol: "v2", threads: true };
/** How long the second thread may take to end, in milliseconds. */
const END_MS = 5000;
/** How often the device goes around the states meanwhile. */
const ROUNDS = 50;

function secondThread({ secondThread }: CheckContext): SecondThread {
  if (secondThread === null) throw new Error("Cannot check with two threads: there is no second");
  return secondThread;
}

/** Ends what the second thread asks; every answer has to be a state. */
function expectStates(context: CheckContext, thread: SecondThread): void {
  const result = thread.end(END_MS);
  if (result === null) context.expect(false, "each GET of the second thread returns", "one hangs");
  const { calls, wrong, errno } = result!;
  context.step(`the second thread asked for the state ${calls} times meanwhile`);
  if (calls === 0) context.unclear("the second thread did not come to ask for the state");
  context.expect(
    wrong === 0,
    "each GET of the second thread answers a state",
    `${wrong} of ${calls} do not${errno === 0 ? "" : `, the last with errno ${errno}`}`,
  );
}

/** The checks with two threads. */
export const CONCURRENCY_CHECKS: readonly Check[] = [
  defineCheck({
    id: "v2.threads.state-while-stepping",
    group,
    rules: [rule(132)],
    needs,
    run: (context) => {
      const { v2 } = context;
      const thread = secondThread(context);
      thread.begin("getStates", context.device.fd.number);
      thread.calling(END_MS);
      try {
        for (let round = 0; round < ROUNDS; round += 1) {
          const fd = v2.open(STOP_COPY);
          v2.read(fd, 4096);
          v2.close(fd);
          v2.enter(RUNNING);
        }
      } finally {
        expectStates(context, thread);
      }
    },
  }),
  defineCheck({
    id: "v2.threads.state-while-reading",
    group,
    rules: [rule(132), rule(138)],
    needs,
    run: (context) => {
      const { v2 } = context;
      const whole = reference(context);
      const fd = v2.open(STOP_COPY);
      const thread = secondThread(context);
      thread.begin("getStates", context.device.fd.number);
      thread.calling(END_MS);
      let found: string | null = null;
      try {
        found = difference(whole, v2.readAll(fd, [4096]));
      } finally {
        expectStates(context, thread);
      }
      context.expect(found === null, "the data is that of a save by one thread", found ?? "");
    },
  }),
  defineCheck({
    id: "v2.threads.two-readers",
    group,
    rules: [rule(132)],
    needs,
    run: (context) => {
      const { v2 } = context;
      const whole = reference(context);
      const fd = v2.open(STOP_COPY);
      const thread = secondThread(context);
      thread.begin("readAll", fd);
      const { bytes } = v2.readAll(fd, [4096]);
      const other = thread.end(END_MS);
      context.expect(other !== null, "each read of the second thread returns", "one hangs");
      context.step(`this thread read ${bytes} bytes, the second one ${other!.bytes}`);
      context.expect(
        bytes + other!.bytes === whole.bytes && other!.errno === 0,
        `together they read the ${whole.bytes} bytes`,
        `${bytes + other!.bytes} bytes, errno ${other!.errno}`,
      );
    },
  }),
  defineCheck({
    id: "v2.threads.reset-while-reading",
    group,
    safety: "reset",
    rules: [rule(81)],
    needs: { ...needs, resettable: true },
    run: (context) => {
      const { v2 } = context;
      for (let round = 0; round < ROUNDS / 10; round += 1) {
        v2.enter(STOP);
        const fd = v2.open(STOP_COPY);
        const thread = secondThread(context);
        thread.begin("readAll", fd);
        const errno = v2.reset();
        const other = thread.end(END_MS);
        context.expect(other !== null, "the read of the second thread returns", "it hangs");
        context.expect(errno === null, "the reset succeeds", `it failed with ${errno}`);
        const state = v2.state();
        context.expect(state === RUNNING, "GET answers RUNNING", stateName(state));
        v2.close(fd);
      }
    },
  }),
];
