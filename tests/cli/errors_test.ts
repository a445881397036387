import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { explain } from "../../cli/output/error_message.ts";
import { Interrupted } from "../../cli/signals.ts";
import { UsageError } from "../../cli/usage_error.ts";
import type { MigrationErrorCode } from "../../src/migration/migration_error.ts";
import { AnswerError, DeviceNameError } from "../../src/vfio/mod.ts";
import {
  BusyError,
  CheckpointError,
  CheckpointFileError,
  IdentityError,
  MigrationError,
  type StateName,
  TransferError,
  UnsupportedError,
} from "../../mod.ts";
import { SimSpecError } from "../../src/sim/mod.ts";
import { SysError } from "../../src/kernel/mod.ts";

const refused = new MigrationError("Cannot stop", {
  code: "transition-refused",
  deviceState: "running",
  recovery: "none",
  errno: "EIO",
  hint: "look at dmesg",
});
const lost = new MigrationError("Cannot stop", {
  code: "reset-failed",
  deviceState: "error",
  recovery: "failed",
});
/** What a driver answers to a state that it is given. */
const answered = (code: MigrationErrorCode) =>
  new MigrationError("Cannot restore", { code, deviceState: "running", recovery: "reset" });
const bad = new CheckpointError("crc", 4096, "frame 2 has a wrong CRC");
const unsupported = new UnsupportedError([
  { code: "no-iommu-group", message: "No group", hint: "turn it on", blocks: true },
]);

describe("an error becomes an exit code", () => {
  const cases:
    readonly (readonly [what: string, error: unknown, exitCode: number, code: string])[] = [
      ["a refused step", refused, 1, "transition-refused"],
      ["a device in ERROR", lost, 5, "reset-failed"],
      ["a bad checkpoint", bad, 4, "crc"],
      ["a state of another device", answered("incompatible-state"), 4, "incompatible-state"],
      ["a state that is too long", answered("state-too-long"), 4, "state-too-long"],
      ["a state that was cut", answered("state-refused"), 4, "state-refused"],
      ["a state for a newer driver", answered("needs-newer-driver"), 3, "needs-newer-driver"],
      ["another kind of device", new IdentityError(["it differs"]), 4, "identity"],
      ["an unsupported device", unsupported, 3, "no-iommu-group"],
      ["a driver's false answer", new AnswerError("it lies", "flags"), 3, "broken-answer"],
      ["a busy device", new BusyError("group", []), 1, "busy"],
      ["a bad device name", new DeviceNameError("no"), 2, "bad-name"],
      ["a bad simulated device", new SimSpecError("no", "no"), 2, "bad-name"],
      ["a senseless command line", new UsageError("no"), 2, "usage"],
      ["a failed call", new SysError("open", 13, "/dev/vfio/12"), 1, "system-call"],
      [
        "a file that is there",
        new CheckpointFileError("no", { path: "a", code: "EEXIST" }),
        1,
        "system-call",
      ],
      ["anything else", new TypeError("a mistake of ours"), 1, "failed"],
      ["what is no error", "oops", 1, "failed"],
    ];
  for (const [what, error, exitCode, code] of cases) {
    it(`${exitCode} for ${what}`, () => {
      const explained = explain(error, undefined);
      assert.equal(explained.exitCode, exitCode);
      assert.equal(explained.code, code);
    });
  }

  it("128+n after a signal", () => {
    const reason = new Interrupted("SIGTERM");
    const explained = explain(refused, reason);
    assert.equal(explained.exitCode, 143);
    assert.equal(explained.code, "interrupted");
    assert.equal(explained.message, "Interrupted by SIGTERM: Cannot stop");
    assert.equal(explain(reason, reason).message, "Interrupted by SIGTERM");
  });

  it("5 for a device that needs a reset, after a signal and for a bad checkpoint too", () => {
    assert.equal(explain(lost, new Interrupted("SIGINT")).exitCode, 5);
    const both = new MigrationError("Cannot restore", lost, { cause: bad });
    assert.equal(explain(both, undefined).exitCode, 5);
  });

  it("is 5 if a bad checkpoint leaves a device that needs a reset", () => {
    const cause = new CheckpointError("truncated", 0, "it ends");
    const found = (state: StateName): TransferError => {
      const devices = [{ name: "fd:3", state, recovery: "reset", notes: [], error: null } as const];
      return new TransferError("Cannot restore", { code: "truncated", devices }, { cause });
    };
    assert.equal(explain(found("unknown"), undefined).exitCode, 5);
    assert.equal(explain(found("unknown"), undefined).deviceState, "unknown");
    assert.equal(explain(found("running"), undefined).exitCode, 4);
  });

  it("4 for a bad checkpoint that made a restore fail", () => {
    const wrapped = new MigrationError("Cannot restore", refused, { cause: bad });
    assert.equal(explain(wrapped, undefined).exitCode, 4);
  });

  it("3 for a refused device though it failed deep inside", () => {
    assert.equal(explain(new Error("outer", { cause: unsupported }), undefined).exitCode, 3);
  });
});

describe("an explanation", () => {
  it("has the errno's name, the device's state and the hint", () => {
    const { errno, deviceState, hints, message } = explain(refused, undefined);
    assert.equal(errno, "EIO");
    assert.equal(deviceState, "running");
    assert.deepEqual(hints, ["look at dmesg"]);
    assert.equal(message, "Cannot stop");
  });

  it("has the errno's name of a file that cannot be opened, and of a cause", () => {
    const error = Object.assign(new Error("no"), { code: "EACCES" });
    assert.equal(explain(error, undefined).errno, "EACCES");
    const outer = new Error("outer", { cause: new SysError("open", 16) });
    assert.equal(explain(outer, undefined).errno, "EBUSY");
    assert.equal(explain(new Error("no errno"), undefined).errno, null);
  });

  it("says what to do about a device that is in use", () => {
    assert.match(explain(new BusyError("group", []), undefined).hints[0]!, /as fd:N/);
  });

  it("says what to do about every reason", () => {
    assert.deepEqual(explain(unsupported, undefined).hints, ["turn it on"]);
  });
});

describe("a hint's command", () => {
  const hints = (device?: string): string =>
    explain(
      new MigrationError("Cannot stop", {
        code: "reset-failed",
        deviceState: "stop",
        recovery: "failed",
        hint: { text: "reset it", remedy: "reset" },
      }),
      undefined,
      device,
    ).hints.join();

  it("names the device as a shell takes it, but no fd of this process", () => {
    assert.equal(hints("sim:a?b&c"), "reset it: vfiokit reset 'sim:a?b&c'");
    for (const device of ["fd:3", undefined]) {
      assert.equal(hints(device), "reset it: vfiokit reset DEVICE");
    }
  });
});
