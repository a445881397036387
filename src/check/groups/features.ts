/**
 * VFIO_DEVICE_FEATURE: what every feature call has to refuse, and what the migration features say.
 *
 * @module
 */

import {
  VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP,
  VFIO_DEVICE_FEATURE_GET as GET,
  VFIO_DEVICE_FEATURE_MIG_DATA_SIZE,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE as MIG_DEVICE_STATE,
  VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2,
  VFIO_DEVICE_FEATURE_MIGRATION as MIGRATION,
  VFIO_DEVICE_FEATURE_PROBE as PROBE,
  VFIO_DEVICE_FEATURE_SET as SET,
  VFIO_MIGRATION_P2P,
  VFIO_MIGRATION_PRE_COPY,
  VFIO_MIGRATION_STOP_COPY,
  vfioDeviceFeatureMigState,
} from "../../uapi/mod.ts";
import { answered, type Attempt, attempt } from "../attempt.ts";
import type { CheckContext } from "../context.ts";
import { type Check, defineCheck } from "../define.ts";
import { rule } from "../rules.ts";
import { RUNNING, STATE_NAMES, stateName, STOP } from "../v2/states.ts";
import { enterWhole, safeStates, statesOf } from "./arcs.ts";

const group = "features";
const UNKNOWN_FLAG = 1 << 19;
const UNKNOWN_FEATURE = 0xfff0;
const KNOWN_FLAGS = VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_P2P | VFIO_MIGRATION_PRE_COPY;

const payload = (): Uint8Array<ArrayBuffer> => new Uint8Array(8);

/** A call that has to be refused with one of these errnos. */
function refusedCall(
  id: string,
  number: number,
  errnos: readonly string[],
  { what, call }: {
    readonly what: string;
    readonly call: (context: CheckContext) => Attempt<unknown>;
  },
): Check {
  return defineCheck({
    id: `v2.features.${id}`,
    group,
    rules: [rule(number)],
    needs: { protocol: "v2" },
    run: (context) => {
      const answer = call(context);
      context.step(`${what} → ${answered(answer)}`);
      context.expect(
        answer.errno !== null && errnos.includes(answer.errno),
        `it fails with ${errnos.join(" or ")}`,
        answer.errno === null ? "it succeeded" : `it failed with ${answer.errno}`,
      );
    },
  });
}

/** Does something in each state, RESUMING too if the safety permits. */
function inEachState(context: CheckContext, judge: (state: number) => void): void {
  const states = context.safety === "default" ? safeStates(context) : statesOf(context);
  for (const state of states) {
    enterWhole(context, state);
    judge(state);
    context.v2.enter(RUNNING);
  }
}

/** What debugfs says of the device's migration; null if there is no such file. */
function debugfs(context: CheckContext, file: "state" | "features"): string | null {
  const { kernel, device } = context;
  const { value } = attempt(() =>
    kernel.readText(`/sys/kernel/debug/vfio/${device.label}/migration/${file}`)
  );
  return value?.trim() ?? null;
}

/** The words of debugfs for the flags, in the order in which the kernel prints them. */
const FLAG_WORDS: readonly (readonly [flag: number, word: string])[] = [
  [VFIO_MIGRATION_STOP_COPY, "stop-copy"],
  [VFIO_MIGRATION_P2P, "p2p"],
  [VFIO_MIGRATION_PRE_COPY, "pre-copy"],
];

const CANARY = 0xa5;

/** Features that have one operation, GET or SET, and not the other. */
const OTHER_OPERATIONS: readonly (readonly [name: string, feature: number, has: number])[] = [
  ["data-size-set", VFIO_DEVICE_FEATURE_MIG_DATA_SIZE, GET],
  ["log-start-get", VFIO_DEVICE_FEATURE_DMA_LOGGING_START, SET],
  ["log-stop-get", VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP, SET],
  ["log-report-set", VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT, GET],
];

/** The checks of VFIO_DEVICE_FEATURE. */
export const FEATURE_CHECKS: readonly Check[] = [
  refusedCall("argsz-short", 1, ["EINVAL"], {
    what: "GET MIGRATION with argsz 7",
    call: ({ v2 }) => v2.feature(GET | MIGRATION, payload(), 7),
  }),
  refusedCall("unknown-flag", 2, ["EINVAL"], {
    what: "GET MIGRATION with an unknown flag",
    call: ({ v2 }) => v2.feature(GET | MIGRATION | UNKNOWN_FLAG, payload()),
  }),
  refusedCall("get-and-set", 3, ["EINVAL"], {
    what: "GET and SET MIG_DEVICE_STATE",
    call: ({ v2 }) =>
      v2.feature(
        GET | SET | MIG_DEVICE_STATE,
        vfioDeviceFeatureMigState.pack({ device_state: RUNNING, data_fd: -1 }),
      ),
  }),
  refusedCall("no-operation", 4, ["EINVAL"], {
    what: "MIGRATION without an operation",
    call: ({ v2 }) => v2.feature(MIGRATION, payload()),
  }),
  refusedCall("unknown-feature", 5, ["ENOTTY", "EINVAL"], {
    what: "GET feature 0xfff0",
    call: ({ v2 }) => v2.feature(GET | UNKNOWN_FEATURE, payload()),
  }),
  refusedCall("payload-short", 6, ["EINVAL"], {
    what: "GET MIGRATION with argsz 12",
    call: ({ v2 }) => v2.feature(GET | MIGRATION, payload(), 12),
  }),
  refusedCall("migration-set", 8, ["EINVAL"], {
    what: "SET MIGRATION",
    call: ({ v2 }) => v2.feature(SET | MIGRATION, payload()),
  }),
  refusedCall("migration-probe-set", 8, ["EINVAL"], {
    what: "PROBE SET MIGRATION",
    call: ({ v2 }) => v2.feature(PROBE | SET | MIGRATION),
  }),
  ...OTHER_OPERATIONS.map(([name, feature, has]) =>
    defineCheck({
      id: `v2.features.${name}`,
      group,
      rules: [rule(143)],
      needs: { protocol: "v2" },
      run: (context) => {
        const { v2 } = context;
        if (!v2.has(feature, has)) context.skip("the device has no such feature");
        const wrong = has === GET ? SET : GET;
        for (const probe of [PROBE, 0]) {
          const answer = v2.feature(probe | wrong | feature, new Uint8Array(32));
          const operation = `${probe === 0 ? "" : "PROBE "}${wrong === GET ? "GET" : "SET"}`;
          context.step(`${operation} → ${answered(answer)}`);
          context.expect(answer.errno === "EINVAL", "it fails with EINVAL", answered(answer));
        }
      },
    })
  ),
  defineCheck({
    id: "v2.features.argsz-long",
    group,
    rules: [rule(144)],
    needs: { protocol: "v2" },
    run: (context) => {
      const { v2 } = context;
      for (const feature of [MIGRATION, MIG_DEVICE_STATE]) {
        const room = new Uint8Array(64).fill(CANARY);
        room.set(vfioDeviceFeatureMigState.pack({ device_state: RUNNING, data_fd: -1 }));
        const answer = v2.feature(GET | feature, room);
        context.step(`GET of feature ${feature} with argsz 72 → ${answered(answer)}`);
        context.expect(answer.errno === null, "it succeeds", answered(answer));
        context.expect(
          answer.value!.subarray(8).every((byte) => byte === CANARY),
          "the bytes behind the struct stay",
          "some were written to",
        );
      }
    },
  }),
  defineCheck({
    id: "v2.features.probe-acts",
    group,
    rules: [rule(145)],
    needs: { protocol: "v2" },
    run: (context) => {
      const { v2 } = context;
      const stop = vfioDeviceFeatureMigState.pack({ device_state: STOP, data_fd: -1 });
      const answer = v2.feature(PROBE | SET | MIG_DEVICE_STATE, stop);
      context.step(`PROBE SET STOP → ${answered(answer)}`);
      const state = v2.state();
      context.expect(state === RUNNING, "the device stays in RUNNING", stateName(state));
    },
  }),
  defineCheck({
    id: "v2.features.together",
    group,
    rules: [rule(7)],
    needs: { protocol: "v2" },
    run: (context) => {
      const { v2 } = context;
      const migration = v2.feature(PROBE | GET | MIGRATION);
      const get = v2.feature(PROBE | GET | MIG_DEVICE_STATE);
      const set = v2.feature(PROBE | SET | MIG_DEVICE_STATE);
      const both = v2.feature(PROBE | GET | SET | MIG_DEVICE_STATE);
      for (
        const [what, answer] of [
          ["PROBE GET MIGRATION", migration],
          ["PROBE GET MIG_DEVICE_STATE", get],
          ["PROBE SET MIG_DEVICE_STATE", set],
          ["PROBE GET and SET MIG_DEVICE_STATE", both],
        ] as const
      ) {
        context.step(`${what} → ${answered(answer)}`);
        context.expect(answer.errno === null, `${what} succeeds`, answered(answer));
      }
    },
  }),
  defineCheck({
    id: "v2.features.flags",
    group,
    rules: [rule(9)],
    needs: { protocol: "v2" },
    run: (context) => {
      const { value, errno } = context.v2.readFlags();
      context.expect(value !== null, "GET MIGRATION succeeds", `it failed with ${errno}`);
      context.step(`GET MIGRATION → 0x${value!.toString(16)}`);
      context.expect(
        (value! & BigInt(VFIO_MIGRATION_STOP_COPY)) !== 0n,
        "the flags have STOP_COPY",
        `they are 0x${value!.toString(16)}`,
      );
      context.expect(
        (value! & ~BigInt(KNOWN_FLAGS)) === 0n,
        "the flags have only bits of the header",
        `they are 0x${value!.toString(16)}`,
      );
    },
  }),
  defineCheck({
    id: "v2.features.flags-in-each-state",
    group,
    rules: [rule(10)],
    needs: { protocol: "v2" },
    run: (context) => {
      const flags = context.v2.readFlags().value;
      inEachState(context, (state) => {
        const answer = context.v2.readFlags();
        context.expect(
          answer.value === flags,
          `in ${stateName(state)} the flags are 0x${flags?.toString(16)}`,
          answer.errno ?? `they are 0x${answer.value?.toString(16)}`,
        );
      });
    },
  }),
  defineCheck({
    id: "v2.features.get-state",
    group,
    rules: [rule(11)],
    needs: { protocol: "v2" },
    run: (context) => {
      inEachState(context, (state) => {
        for (let turn = 0; turn < 3; turn += 1) {
          const { value, errno } = context.v2.get();
          context.expect(
            value !== null,
            `GET MIG_DEVICE_STATE succeeds in ${stateName(state)}`,
            `it failed with ${errno}`,
          );
          context.expect(
            value!.dataFd === -1,
            `in ${stateName(state)} data_fd is -1`,
            `it is ${value!.dataFd}`,
          );
          context.expect(
            value!.state === state,
            `GET answers ${stateName(state)} each time`,
            `it answers ${stateName(value!.state)}`,
            25,
          );
        }
      });
    },
  }),
  defineCheck({
    id: "v2.features.running-at-open",
    group,
    rules: [rule(12)],
    needs: { protocol: "v2", closable: true },
    run: (context) => {
      const state = context.stateAtOpen;
      context.step("open the device, GET MIG_DEVICE_STATE");
      context.expect(
        state === RUNNING,
        "GET answers RUNNING",
        state === null ? "it failed" : `it answers ${stateName(state)}`,
      );
    },
  }),
  defineCheck({
    id: "v2.features.data-size-in-each-state",
    group,
    rules: [rule(13)],
    needs: { protocol: "v2", features: [VFIO_DEVICE_FEATURE_MIG_DATA_SIZE] },
    run: (context) => {
      inEachState(context, (state) => {
        const { errno } = context.v2.dataSize();
        context.step(`GET MIG_DATA_SIZE in ${stateName(state)} → ${errno ?? "success"}`);
        context.expect(
          errno === null,
          `GET MIG_DATA_SIZE succeeds in ${stateName(state)}`,
          `it failed with ${errno}`,
        );
      });
    },
  }),
  defineCheck({
    id: "v2.features.precopy-info-v2",
    group,
    rules: [rule(14)],
    needs: { protocol: "v2", without: VFIO_MIGRATION_PRE_COPY },
    run: (context) => {
      const answer = context.v2.feature(SET | VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2);
      context.step(`SET MIG_PRECOPY_INFOv2 → ${answered(answer)}`);
      context.expect(
        answer.errno !== null,
        "it is refused: the device has no PRE_COPY",
        "it succeeded",
      );
    },
  }),
  defineCheck({
    id: "v2.features.log-together",
    group,
    rules: [rule(15)],
    needs: { protocol: "v2" },
    run: (context) => {
      const { v2 } = context;
      const found = [
        v2.has(VFIO_DEVICE_FEATURE_DMA_LOGGING_START, SET),
        v2.has(VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP, SET),
        v2.has(VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT, GET),
      ];
      const words = ["START", "STOP", "REPORT"].filter((_, index) => found[index]);
      context.step(`PROBE the DMA log → ${words.join(", ") || "none"}`);
      context.expect(
        words.length === 0 || words.length === 3,
        "START, STOP and REPORT, or none",
        `only ${words.join(", ")}`,
      );
    },
  }),
  defineCheck({
    id: "v2.features.debugfs-state",
    group,
    rules: [rule(16)],
    needs: { protocol: "v2" },
    run: (context) => {
      if (debugfs(context, "state") === null) context.skip("debugfs has no file for the device");
      for (const state of safeStates(context)) {
        if (state !== RUNNING) context.v2.enter(state);
        const said = debugfs(context, "state");
        context.step(`debugfs says ${said}`);
        context.expect(
          said === STATE_NAMES[state],
          `debugfs says ${stateName(state)}`,
          `it says ${said}`,
        );
        context.v2.enter(RUNNING);
      }
    },
  }),
  defineCheck({
    id: "v2.features.debugfs-features",
    group,
    rules: [rule(17)],
    needs: { protocol: "v2" },
    run: (context) => {
      const said = debugfs(context, "features");
      if (said === null) context.skip("debugfs has no file for the device's features");
      context.step(`debugfs says ${said}`);
      const wanted = FLAG_WORDS.filter(([flag]) => (context.v2.flags & flag) !== 0)
        .map(([, word]) => word);
      // There may be words for other features as well.
      const words = said!.split(/\s+/);
      const found = FLAG_WORDS.map(([, word]) => word).filter((word) => words.includes(word));
      context.expect(found.join(" ") === wanted.join(" "), wanted.join(" "), said!);
    },
  }),
];
