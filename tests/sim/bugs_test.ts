import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { bugsOf, canHaveBug } from "../../src/sim/faults/bug_carriers.ts";
import { type BugName, BUGS } from "../../src/sim/faults/bug_table.ts";
import { PERSONALITIES, type PersonalityName, SimKernel } from "../../src/sim/mod.ts";
import type { BugCase } from "./bugs/_case.ts";
import { V1BugClient, V2BugClient } from "./bugs/_clients.ts";
import { DEVICE_CASES } from "./bugs/device_cases.ts";
import { V1_CASES } from "./bugs/v1_cases.ts";
import { V2_FEATURE_CASES } from "./bugs/v2_feature_cases.ts";
import { V2_LOG_CASES } from "./bugs/v2_log_cases.ts";
import { V2_PRECOPY_CASES } from "./bugs/v2_precopy_cases.ts";
import { V2_RESTORE_CASES } from "./bugs/v2_restore_cases.ts";
import { V2_SAVE_CASES } from "./bugs/v2_save_cases.ts";
import { V2_STATE_CASES } from "./bugs/v2_state_cases.ts";

const PLAIN = "size=64KiB&chunk=16KiB";

/** Adds options to a spec. */
const plus = (spec: string, more: string): string =>
  `${spec}${/[?=]/.test(spec) ? "&" : "?"}${more}`;

/** A case, with a client of the right protocol. */
interface Probe {
  readonly on: string;
  readonly look: (spec: string) => unknown;
  readonly clean: unknown;
  readonly buggy: unknown;
}

function probeOf<C extends Disposable>(
  { on, probe, clean, buggy }: BugCase<C>,
  byDefault: string,
  open: (spec: string) => C,
): Probe {
  const look = (spec: string): unknown => {
    using client = open(spec);
    return probe(client);
  };
  return { on: on ?? byDefault, look, clean, buggy };
}

const v1 = (spec: string): V1BugClient => new V1BugClient(spec);
const v2 = (spec: string): V2BugClient => new V2BugClient(spec);

/** The probes of each bug: two of those that devices of both protocols can have. */
const PROBES: Readonly<Record<BugName, readonly Probe[]>> = Object.fromEntries([
  ...Object.entries(DEVICE_CASES).map((
    [name, each]: [string, BugCase<V1BugClient | V2BugClient>],
  ) => [
    name,
    [
      probeOf(each, PLAIN, (spec) => v1(`trapped?${spec}`)),
      probeOf(each, PLAIN, (spec) => v2(`mlx5?iommu=pinned&${spec}`)),
    ],
  ]),
  ...Object.entries(V1_CASES).map((
    [name, each]: [string, BugCase<V1BugClient>],
  ) => [name, [probeOf(each, `trapped?${PLAIN}`, v1)]]),
  ...Object.entries({
    ...V2_FEATURE_CASES,
    ...V2_LOG_CASES,
    ...V2_PRECOPY_CASES,
    ...V2_RESTORE_CASES,
    ...V2_SAVE_CASES,
    ...V2_STATE_CASES,
  }).map((
    [name, each]: [string, BugCase<V2BugClient>],
  ) => [name, [probeOf(each, `mlx5?${PLAIN}`, v2)]]),
]);

describe("the bugs of simulated drivers", () => {
  for (const name of Object.keys(BUGS) as BugName[]) {
    it(`${name}: ${BUGS[name].text}`, () => {
      const probes = PROBES[name];
      assert.ok(probes !== undefined, "no case shows it");
      for (const { on, look, clean, buggy } of probes) {
        assert.deepEqual(look(on), clean, "clean");
        assert.deepEqual(look(plus(on, `bug=${name}`)), buggy, "with the bug");
      }
    });
  }

  it("are had by every driver that the table names, and by no other", () => {
    for (const personality of Object.keys(PERSONALITIES) as PersonalityName[]) {
      for (const name of Object.keys(BUGS) as BugName[]) {
        const can = canHaveBug({ personality, reinit: null }, name);
        const make = (): unknown => new SimKernel(`${personality}?bug=${name}`);
        if (can) make();
        else assert.throws(make, /cannot have the bug|only with reinit/);
      }
    }
    assert.deepEqual(bugsOf({ personality: "none", reinit: null }), []);
    assert.deepEqual(bugsOf({ personality: "ice", reinit: null }), []);
  });

  it("add up", () => {
    using client = v2(`mlx5?${PLAIN}&bug=data-size-zero&bug=flags-unknown&bug=unknown-state`);
    client.go(99);
    assert.deepEqual([client.dataSize, client.flags], [0, 7 | 256]);
  });

  it("are refused if there is none of the name", () => {
    assert.throws(
      () => new SimKernel("mlx5?bug=typo"),
      /no bug is named "typo"; mlx5 can have arg/,
    );
  });
});
