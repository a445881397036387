/**
 * The v2 state machine: every pair of states, and targets that are refused.
 *
 * @module
 */

import { VFIO_MIGRATION_P2P, VFIO_MIGRATION_PRE_COPY } from "../../uapi/mod.ts";
import { flagsFor, hasState, planPath } from "../../vfio/state/v2_plan.ts";
import type { CheckContext } from "../context.ts";
import { type Check, defineCheck } from "../define.ts";
import { type Rule, rule } from "../rules.ts";
import {
  isPreCopy,
  opensFd,
  PRE_COPY,
  PRE_COPY_P2P,
  RESUMING,
  RUNNING,
  RUNNING_P2P,
  stateName,
  STATES,
  STOP,
  STOP_COPY,
} from "../v2/states.ts";

const group = "arcs";

/** How long a state is watched for a change that nobody asked for, in milliseconds. */
const WATCH_MS = 1000;

/** Brings the device into a state; into RESUMING with its own state, so that it can be left. */
export function enterWhole(context: CheckContext, state: number): number {
  const { v2 } = context;
  if (state !== RESUMING) return state === RUNNING ? -1 : v2.enter(state);
  return v2.load(v2.save());
}

/** The v2 states that a device has. */
export function statesOf({ v2 }: CheckContext): number[] {
  return STATES.filter((state) => hasState(state, v2.flags));
}

/** The states that the default safety may enter. */
export function safeStates(context: CheckContext): number[] {
  return statesOf(context).filter((state) => state !== RESUMING);
}

/** Judges a SET that has to be refused, and the state afterwards. */
function expectRefused(context: CheckContext, from: number, target: number): void {
  const { v2 } = context;
  const { errno } = v2.set(target);
  context.expect(errno === "EINVAL", "the SET fails with EINVAL", errno ?? "it succeeded");
  const after = v2.state();
  context.expect(
    after === from,
    `the device stays in ${stateName(from)}`,
    `GET answers ${stateName(after)}`,
  );
}

/** The number of the rule about the data_fd of a step. */
function fdRule(from: number, to: number): number {
  if (isPreCopy(from) && to === STOP_COPY) return 33;
  if (isPreCopy(from) && isPreCopy(to)) return 34;
  if (!opensFd(from, to)) return 32;
  return to === PRE_COPY ? 28 : to === PRE_COPY_P2P ? 29 : to === STOP_COPY ? 30 : 31;
}

function judgePair(context: CheckContext, from: number, to: number): void {
  const { v2 } = context;
  const path = planPath(from, to, v2.flags);
  enterWhole(context, from);
  if (path === null) return expectRefused(context, from, to);
  const { errno, dataFd } = v2.set(to);
  const way = [from, ...path];
  if (errno !== null) {
    const after = v2.get().value?.state;
    context.expect(
      after === undefined || after === 0 || way.includes(after),
      `after a SET that failed, a state on the way ${way.map(stateName).join(", ")}`,
      `the SET failed with ${errno}, and GET answers ${stateName(after ?? 0)}`,
      27,
    );
    context.expect(false, "the SET succeeds", `it failed with ${errno}`);
  }
  const after = v2.state();
  context.expect(
    after === to,
    `GET answers ${stateName(to)}`,
    `it answers ${stateName(after)}`,
    25,
  );
  const [last, before] = [way.at(-1)!, way.at(-2)];
  if (before === undefined) {
    context.expect(dataFd < 0, "no data_fd", `data_fd ${dataFd}`, 24);
    return;
  }
  const wanted = opensFd(before, last);
  context.expect(
    dataFd >= 0 === wanted,
    wanted ? "a data_fd" : "no data_fd (-1)",
    dataFd >= 0 ? `data_fd ${dataFd}` : "data_fd -1",
    fdRule(before, last),
  );
}

function pairCheck(from: number, to: number): Check {
  const refused = from === STOP_COPY && isPreCopy(to);
  const first = refused ? to === PRE_COPY ? 22 : 23 : from === to ? 24 : 18;
  const others = refused ? [] : from === to ? [25] : [25, 27, 28, 29, 30, 31, 32, 33, 34];
  return defineCheck({
    id: `v2.arc.${stateName(from).toLowerCase()}-to-${stateName(to).toLowerCase()}`,
    group,
    safety: from === RESUMING || to === RESUMING ? "reset" : "default",
    rules: [rule(first), ...others.map(rule)],
    needs: { protocol: "v2", flags: flagsFor(from) | flagsFor(to) },
    run: (context) => judgePair(context, from, to),
  });
}

/** A target that is refused in every state that the default safety may enter. */
function refusedCheck(
  name: string,
  target: number,
  by: Rule,
  without?: number,
): Check {
  return defineCheck({
    id: `v2.arc.refused-${name}`,
    group,
    rules: [by],
    needs: { protocol: "v2", ...(without === undefined ? {} : { without }) },
    run: (context) => {
      for (const state of safeStates(context)) {
        if (state !== RUNNING) context.v2.enter(state);
        expectRefused(context, state, target);
        context.v2.enter(RUNNING);
      }
    },
  });
}

/** The steps that only devices with P2P can take alone. */
const P2P_STEPS: readonly (readonly [from: number, to: number])[] = [
  [RUNNING, RUNNING_P2P],
  [RUNNING_P2P, STOP],
  [STOP, RUNNING_P2P],
  [RUNNING_P2P, RUNNING],
  [RUNNING, PRE_COPY],
  [PRE_COPY, PRE_COPY_P2P],
  [PRE_COPY_P2P, PRE_COPY],
  [PRE_COPY, PRE_COPY_P2P],
  [PRE_COPY_P2P, RUNNING_P2P],
  [RUNNING_P2P, PRE_COPY_P2P],
  [PRE_COPY_P2P, STOP_COPY],
  [STOP_COPY, STOP],
  [STOP, RUNNING_P2P],
  [RUNNING_P2P, RUNNING],
];

/** The checks of the v2 state machine. */
export const ARC_CHECKS: readonly Check[] = [
  ...STATES.flatMap((from) => STATES.map((to) => pairCheck(from, to))),
  refusedCheck("error", 0, rule(19)),
  refusedCheck("8", 8, rule(20)),
  refusedCheck("largest", 0xffff_ffff, rule(20)),
  refusedCheck("running_p2p", RUNNING_P2P, rule(21), VFIO_MIGRATION_P2P),
  refusedCheck("pre_copy", PRE_COPY, rule(21), VFIO_MIGRATION_PRE_COPY),
  refusedCheck(
    "pre_copy_p2p",
    PRE_COPY_P2P,
    rule(21),
    VFIO_MIGRATION_P2P | VFIO_MIGRATION_PRE_COPY,
  ),
  defineCheck({
    id: "v2.arc.stays",
    group,
    rules: [rule(26)],
    needs: { protocol: "v2" },
    run: (context) => {
      const { v2 } = context;
      for (const state of safeStates(context)) {
        if (state !== RUNNING) v2.enter(state);
        context.pause(WATCH_MS);
        const after = v2.state();
        context.expect(
          after === state,
          `the device stays in ${stateName(state)}`,
          `GET answers ${stateName(after)}`,
        );
        v2.enter(RUNNING);
      }
    },
  }),
  defineCheck({
    id: "v2.arc.p2p-steps",
    group: "p2p",
    rules: [rule(35)],
    needs: { protocol: "v2", flags: VFIO_MIGRATION_P2P },
    run: (context) => {
      const { v2 } = context;
      const steps = P2P_STEPS.filter((step) => step.every((state) => hasState(state, v2.flags)));
      // Without pre-copy the way to STOP_COPY is not in the list; it has separate checks.
      for (const [from, to] of steps.filter(([from]) => from !== STOP_COPY)) {
        if (v2.state() !== from) v2.enter(from);
        const { errno } = v2.set(to);
        context.expect(
          errno === null,
          `${stateName(from)} to ${stateName(to)} succeeds`,
          `it failed with ${errno}`,
        );
        const after = v2.state();
        context.expect(
          after === to,
          `GET answers ${stateName(to)}`,
          `it answers ${stateName(after)}`,
        );
      }
    },
  }),
  defineCheck({
    id: "v2.arc.data-fd-ignored",
    group,
    rules: [rule(134)],
    needs: { protocol: "v2" },
    run: (context) => {
      const { v2 } = context;
      const { errno } = v2.set(STOP, 0);
      context.expect(errno === null, "the SET succeeds", `it failed with ${errno}`);
      const after = v2.state();
      context.expect(after === STOP, "GET answers STOP", `it answers ${stateName(after)}`);
    },
  }),
];
