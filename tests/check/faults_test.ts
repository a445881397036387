import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { rule } from "../../src/check/mod.ts";
import { shown, verdict, verdictsOf } from "./_run.ts";

/** A fault, and a check that fails because of it, by the number of its rule. */
const FOUND: readonly (readonly [spec: string, id: string, rule: number])[] = [
  ["mlx5?fault=odd-flags", "v2.features.flags", 9],
  ["mlx5?fault=no-stop-copy", "v2.features.flags", 9],
  ["mlx5?fault=transition:1:EIO", "v2.arc.running-to-running_p2p", 18],
  ["mlx5?fault=state-late:1", "v2.arc.running-to-running_p2p", 25],
  ["mlx5?fault=fd-extra:1", "v2.arc.running-to-running_p2p", 32],
  ["mlx5?fault=error-state:1", "v2.arc.running-to-running_p2p", 18],
  ["trapped?fault=caps-loop", "device.regions.capabilities", 98],
];

describe("a driver with a fault", () => {
  for (const [spec, id, number] of FOUND) {
    it(`fails ${id}: ${spec}`, async () => {
      const separator = spec.includes("?") ? "&" : "?";
      const { verdicts } = await verdictsOf([`sim:${spec}${separator}size=64KiB`], {
        only: [id],
        safety: "reset",
      });
      const found = verdict(verdicts, id);
      assert.equal(found.outcome, "fail", shown(found));
      assert.equal(found.rule, rule(number));
      assert.notEqual(found.expected, null);
      assert.ok(found.calls.length > 0);
    });
  }

  it("ends the run if a default check leaves the device in ERROR", async () => {
    const { verdicts, lost } = await verdictsOf(["sim:mlx5?size=64KiB&fault=error-state:1"], {
      only: ["arcs"],
    });
    assert.equal(lost, "ERROR");
    assert.equal(verdicts.at(-1)!.outcome, "fail");
    assert.ok(verdicts.length < 10);
  });

  it("goes on after a reset, if the check may reset", async () => {
    const { verdicts, lost } = await verdictsOf(["sim:mlx5?size=64KiB&fault=error-state:1"], {
      only: ["v2.arc.running-to-resuming", "v2.arc.stop-to-resuming"],
      safety: "reset",
    });
    assert.equal(lost, null);
    assert.deepEqual(verdicts.map(({ outcome }) => outcome), ["fail", "pass"]);
  });
});
