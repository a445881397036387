// The fds that the caller's thread closes when a device's thread has died.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { SharedCounters } from "../../src/migration/thread/shared_counters.ts";
import { V2Engine } from "../../src/migration/v2/v2_engine.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { readMigrationFlags } from "../../src/vfio/device/feature.ts";
import { parseDeviceName } from "../../src/vfio/open/device_name.ts";
import { openVfioDevice } from "../../src/vfio/open/open.ts";

const NO_LIMITS = { threshold: 0, downtimeMs: 0, maxRounds: Infinity, maxTimeMs: Infinity };

/** A device in stop-copy, with the counters of its thread and of the caller's. */
function saving(
  own: readonly number[] | null,
  test: (engine: V2Engine, callers: SharedCounters, dataFds: () => number[]) => void,
): void {
  const kernel = new SimKernel("mlx5?size=64KiB");
  using device = openVfioDevice(kernel, parseDeviceName(kernel.devices[0]!.path));
  const callers = new SharedCounters();
  const counters = new SharedCounters(callers.memory);
  if (own !== null) counters.ownedFds = own;
  using engine = new V2Engine({
    device,
    flags: readMigrationFlags(device)!,
    handover: null,
    onError: "reset",
    counters,
  });
  const before = kernel.openObjects;
  engine.beginSave("stop-and-copy", NO_LIMITS);
  const dataFds = (): number[] =>
    kernel.openObjects.filter((text) => !before.includes(text)).map((text) =>
      Number(/^fd (\d+) /.exec(text)?.[1])
    );
  test(engine, callers, dataFds);
}

describe("the fds of a device's thread", () => {
  it("include the one for v2's data while it is open", () => {
    saving([7, 9], (engine, callers, dataFds) => {
      assert.equal(dataFds().length, 1);
      assert.equal(callers.dataFd, dataFds()[0]);
      engine.recover();
      assert.deepEqual(dataFds(), []);
      assert.deepEqual(callers.takeOwnedFds(), [7, 9]);
    });
  });

  it("can be taken once", () => {
    saving([0], (_engine, callers, dataFds) => {
      assert.deepEqual(callers.takeOwnedFds(), [0, ...dataFds()]);
      assert.deepEqual(callers.takeOwnedFds(), []);
    });
  });

  it("are none if they are not of this process", () => {
    saving(null, (_engine, callers) => assert.deepEqual(callers.takeOwnedFds(), []));
  });
});
