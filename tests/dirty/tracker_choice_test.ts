import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { DirtySession } from "../../src/dirty/session.ts";
import { dirtyPages, range, type SimSessionOptions, withSession } from "./_session.ts";

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

  it("is auto by default", () => {
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

  it("is none if neither tracks, with the reasons of both", () => {
    assert.throws(
      () => withSession("fault=no-dirty-capability", { map, tracker: "auto" }, () => {}),
      (error: Error & { reasons?: { code: string; hint: string }[] }) => {
        assert.deepEqual(error.reasons?.map(({ code }) => code), [
          "no-dirty-capability",
          "no-device-log",
        ]);
        assert.match(
          error.reasons[1]!.hint,
          /^Of the drivers in Linux, those for mlx5 and pds log$/,
        );
        return true;
      },
    );
  });

  it("is the log if the container does not track", () => {
    const options = { personality: "mlx5", map, tracker: "auto" } as const;
    withSession("fault=no-dirty-capability", options, ({ session }) => {
      assert.equal(session.tracker.name, "device");
    });
  });

  it("is the log over an IOAS, if the kernel opens the device by its own node", () => {
    withSession("cdev=1", { personality: "mlx5", map, tracker: "auto" }, ({ session, write }) => {
      assert.deepEqual([session.tracker.name, session.device.via], ["device", "cdev"]);
      session.tracker.start();
      write(3, 7);
      assert.deepEqual(dirtyPages(session.tracker.read()), [3, 7]);
      write(5);
      const { reading, unmapped, error } = session.tracker.unmapWithDirty(0n, 10n * 4096n);
      assert.deepEqual([dirtyPages(reading), unmapped, error], [[5], 40960n, null]);
      assert.deepEqual(session.mappings, []);
      const { group, container, iommufd } = session.fds;
      assert.deepEqual([group, container, iommufd === null], [null, null, false]);
    });
  });

  it("is the iommufd's page table if the device has no log and the IOMMU tracks", () => {
    const spec = "cdev=1&iommu=dirty-tracking";
    withSession(spec, { map, tracker: "auto" }, ({ session, write }) => {
      assert.deepEqual([session.tracker.name, session.device.via], ["iommufd", "cdev"]);
      assert.match(session.trackerReason!, /^The device has no log of its own DMA/);
      session.tracker.start();
      write(3);
      assert.deepEqual(dirtyPages(session.tracker.read()), [3]);
    });
    withSession(spec, { personality: "mlx5", map, tracker: "auto" }, ({ session }) => {
      assert.equal(session.tracker.name, "device");
    });
  });

  const byGroup: readonly (readonly [spec: string, personality: string, why: RegExp])[] = [
    [
      "cdev=1",
      "trapped",
      /^The device has no log of its own DMA \(.*START: ENOTTY\); No page table .* no IOMMU hardware/,
    ],
    ["cdev=1&iommu=all-dirty", "trapped", /^The device has no log.*; No page table.*capability/],
    ["cdev=1&fault=no-log-report", "mlx5", /that the kernel cannot report/],
    ["cdev=1&fault=log-start:1:EINVAL", "mlx5", /by somebody who has this device open/],
    // It was closed before it was opened again.
    ["cdev=1&fault=close:1:EBUSY", "trapped", /while cleaning up: close fd \d+: EBUSY/],
  ];
  for (const [spec, personality, why] of byGroup) {
    it(`is type1, and the device opened by its group, with ${personality} and ${spec}`, () => {
      withSession(spec, { personality, map, tracker: "auto" }, ({ session, write }) => {
        assert.deepEqual([session.tracker.name, session.device.via], ["type1", "group"]);
        assert.match(session.trackerReason!, why);
        session.tracker.start();
        write(3);
        assert.ok(dirtyPages(session.tracker.read()).includes(3));
      });
    });
  }

  it("opens the device by its group if type1 is named", () => {
    withSession("cdev=1", { map, tracker: "type1" }, ({ session }) => {
      assert.deepEqual([session.device.via, session.trackerReason], ["group", null]);
    });
    withSession("cdev=1", { map, tracker: "auto", via: "group" }, ({ session }) => {
      assert.equal(session.tracker.name, "type1");
    });
  });

  it("is not type1 if the device is to be opened by its own node", () => {
    const codes = (options: SimSessionOptions): string[] => {
      try {
        withSession("cdev=1", { map, via: "cdev", ...options }, () => {});
      } catch (error) {
        return (error as { reasons: { code: string }[] }).reasons.map(({ code }) => code);
      }
      return [];
    };
    assert.deepEqual(codes({ tracker: "type1" }), ["no-type1-container"]);
    assert.deepEqual(codes({ tracker: "device" }), ["no-device-log"]);
    assert.deepEqual(codes({ tracker: "auto" }), [
      "no-device-log",
      "no-iommufd-tracking",
      "no-type1-container",
    ]);
    assert.deepEqual(codes({ tracker: "device", personality: "mlx5" }), []);
  });

  it("is none if the log is refused, and type1 does not track in the group's container", () => {
    assert.throws(
      () => withSession("cdev=1&fault=no-dirty-capability", { map, tracker: "auto" }, () => {}),
      (error: Error & { reasons?: { code: string }[] }) => {
        assert.deepEqual(error.reasons?.map(({ code }) => code), [
          "no-dirty-capability",
          "no-device-log",
          "no-iommufd-tracking",
        ]);
        return true;
      },
    );
  });

  it("is the log in a borrowed IOAS, whose owner's mappings are passed on", () => {
    const options = { personality: "mlx5", map, tracker: "device" } as const;
    withSession("cdev=1", options, ({ session: owner, kernel, write }) => {
      const device = owner.device.fd.number;
      const ioas = owner.device.ioas!;
      const fds = { iommufdFd: ioas.iommufd.fd.number, ioasId: ioas.id };
      {
        using session = DirtySession.open(`fd:${device}`, { kernel, mappings: map, ...fds });
        assert.equal(session.tracker.name, "device");
        session.tracker.start();
        write(4);
        assert.deepEqual(dirtyPages(session.tracker.read()), [4]);
      }
      // The owner's mappings are as they were.
      write(4);
      assert.throws(
        () => DirtySession.open(`fd:${device}`, { kernel, mappings: map }),
        (error: Error & { reasons?: { code: string }[] }) => error.reasons?.[0]?.code === "no-ioas",
      );
    });
  });
});
