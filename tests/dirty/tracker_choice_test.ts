import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { DirtySession } from "../../src/dirty/session.ts";
import { dirtyPages, range, withSession } from "./_session.ts";

const map = [range(0, 10)];

describe("the tracker of a session", () => {
  const cases:
    readonly (readonly [spec: string, personality: string, name: string, why: RegExp])[] = [
      ["", "mlx5", "device", /^The device has a log of its own DMA, and the kernel reports it$/],
      ["", "pds", "device", /^The device has a log/],
      ["", "trapped", "type1", /^The device has no log of its own DMA \(.*START: ENOTTY\)$/],
      ["", "virtio", "type1", /^The device has no log/],
      ["fault=no-log-report", "mlx5", "type1", /that the kernel cannot report \(.*EOPNOTSUPP\)$/],
      ["fault=log-start:1:EOPNOTSUPP", "mlx5", "type1", /does not take this much memory/],
      ["fault=log-start:1:EINVAL", "mlx5", "type1", /by somebody who has this device open/],
      ["fault=log-report:1:ENOTCONN", "mlx5", "type1", /ENOTCONN/],
    ];
  for (const [spec, personality, name, why] of cases) {
    it(`is ${name} by default with ${personality}${spec === "" ? "" : ` and ${spec}`}`, () => {
      withSession(spec, { personality, map, tracker: "auto" }, ({ session, write }) => {
        assert.equal(session.tracker.name, name);
        assert.match(session.trackerReason!, why);
        session.tracker.start();
        write(3);
        assert.ok(dirtyPages(session.tracker.read()).includes(3));
      });
    });
  }

  it("is auto where nothing is said", () => {
    using session = DirtySession.open("sim:mlx5", { maps: map });
    assert.equal(session.tracker.name, "device");
  });

  it("is the one that was named, and there is no reason then", () => {
    for (const tracker of ["type1", "device"] as const) {
      withSession("", { personality: "mlx5", map, tracker }, ({ session }) => {
        assert.deepEqual([session.tracker.name, session.trackerReason], [tracker, null]);
      });
    }
  });

  it("is none where neither tracks, with the reasons of both", () => {
    assert.throws(
      () => withSession("fault=no-dirty-capability", { map, tracker: "auto" }, () => {}),
      (error: Error & { reasons?: { code: string }[] }) => {
        assert.deepEqual(error.reasons?.map(({ code }) => code), [
          "no-dirty-capability",
          "no-device-log",
        ]);
        return true;
      },
    );
  });

  it("is the log where the container does not track", () => {
    const options = { personality: "mlx5", map, tracker: "auto" } as const;
    withSession("fault=no-dirty-capability", options, ({ session }) => {
      assert.equal(session.tracker.name, "device");
    });
  });
});
