import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { simHelp } from "../../src/sim/mod.ts";
import { vfiokit } from "./_cli.ts";

describe("vfiokit probe", () => {
  it("prints what a device is as JSON, addresses in hex", async () => {
    const { code, out } = await vfiokit(["probe", "sim:partitioned", "--json"]);
    const document = JSON.parse(out);
    assert.equal(code, 0);
    assert.equal(document.schema, "vfiokit/probe/1");
    assert.equal(document.device, "sim:partitioned");
    assert.equal(document.protocol, "v1");
    assert.equal(document.migratable, true);
    assert.equal(document.dataSection, "partitioned");
    for (const key of ["driver", "group", "reasons", "regions", "dirty"]) {
      assert.ok(key in document, key);
    }
    assert.deepEqual(Object.keys(document.dirty), ["tracks", "pgsizes", "maxBitmapBytes"]);
    const region = document.regions.find(({ type }: { type: unknown }) => type !== null);
    assert.match(region.offset, /^0x[0-9a-f]+$/);
    assert.equal(typeof region.size, "number");
    assert.match(region.sparse[0].offset, /^0x[0-9a-f]+$/);
  });

  it("exits with 3 if the device cannot be migrated, and says why and what next", async () => {
    const { code, out } = await vfiokit(["probe", "sim:none"]);
    assert.equal(code, 3);
    assert.match(out, /sim:none: cannot be migrated/);
    assert.match(out, /why: .*no migration region/);
    assert.match(out, /hint: /);
  });

  it("prints what a v2 device can do, and which driver is missing if it cannot migrate", async () => {
    const { code, out } = await vfiokit(["probe", "sim:hisi"]);
    assert.equal(code, 0);
    assert.match(out, /^sim:hisi: can be migrated, protocol v2, with STOP_COPY, PRE_COPY$/m);
    assert.match(
      out,
      /features MIGRATION, MIG_DEVICE_STATE, .*; not MIG_PRECOPY_INFOv2, .* \(ENOTTY\)/,
    );
    const none = await vfiokit(["probe", "sim:none"]);
    assert.match(none.out, /features not MIGRATION, .*BUS_MASTER \(ENOTTY\)/);
    const plain = await vfiokit(["probe", "sim:vfio-pci", "--json"]);
    assert.equal(plain.code, 3);
    const { reasons, features } = JSON.parse(plain.out);
    assert.equal(reasons[0].code, "needs-variant-driver");
    assert.match(reasons[0].hint, /mlx5_vfio_pci/);
    assert.deepEqual(features[0], { name: "MIGRATION", supported: false, errno: "ENOTTY" });
  });

  it("says by which nodes a device is opened, if there is a choice", async () => {
    const [cdev, group, none, json] = await Promise.all([
      vfiokit(["probe", "sim:mlx5?cdev=1"]),
      vfiokit(["probe", "sim:mlx5?cdev=1", "--via", "group"]),
      vfiokit(["probe", "sim:mlx5", "--via", "cdev"]),
      vfiokit(["probe", "sim:mlx5?cdev=1", "--json"]),
    ]);
    assert.match(
      cdev.out,
      /^ {2}opened {3}by its character device \(\/dev\/vfio\/devices\/vfio0, \/dev\/iommu\)$/m,
    );
    assert.match(group.out, /^ {2}opened {3}by its group, not by \/dev\/vfio\/devices\/vfio0/m);
    assert.equal(none.code, 3);
    assert.match(none.out, /^ {2}hint: .*CONFIG_VFIO_DEVICE_CDEV.*--via group/m);
    assert.deepEqual(JSON.parse(json.out).access, {
      via: "cdev",
      cdev: "/dev/vfio/devices/vfio0",
      iommufd: "/dev/iommu",
      whyNotCdev: null,
    });
  });

  it("exits with 1 if the device is in use", async () => {
    const { code, out } = await vfiokit(["probe", "sim:mapped?fault=group-busy", "--json"]);
    assert.equal(code, 1);
    assert.equal(JSON.parse(out).reasons[0].code, "busy");
  });

  it("does not say of a device that it may not open whether it migrates", async () => {
    const name = "sim:mlx5?fault=open:EACCES";
    const [words, json] = await Promise.all([
      vfiokit(["probe", name]),
      vfiokit(["probe", name, "--json"]),
    ]);
    assert.equal(words.code, 3);
    assert.match(words.out, /: not opened, so not known to migrate$/m);
    assert.equal(JSON.parse(json.out).migratable, null);
  });

  it("exits with 0 and opens nothing with `--no-open`", async () => {
    const { code, out, err } = await vfiokit(["probe", "sim:mapped", "--no-open", "--json"]);
    assert.equal(code, 0);
    assert.equal(JSON.parse(out).migratable, null);
    assert.match(err, /Not opened/);
  });

  it("lists what can be simulated, and says what is wrong with a name", async () => {
    const [list, wrong] = await Promise.all([
      vfiokit(["probe", "sim:help"], { permissions: [] }),
      vfiokit(["probe", "sim:maped"]),
    ]);
    assert.deepEqual([list.code, list.err, list.out], [0, "", simHelp()]);
    assert.equal(wrong.code, 2);
    assert.match(wrong.err, /"maped"; there are .*\n {2}hint: see "vfiokit probe sim:help"\n$/);
  });

  it("exits with 3 for a device that is not there", async () => {
    const { code, out } = await vfiokit(["probe", "ffff:1f:1f.7", "--json"]);
    assert.equal(code, 3);
    assert.equal(JSON.parse(out).reasons[0].code, "no-such-device");
  });
});

describe("vfiokit state", () => {
  it("prints a device's state, with the raw register", async () => {
    const { code, out } = await vfiokit(["state", "sim:mapped", "--json"]);
    assert.equal(code, 0);
    assert.deepEqual(JSON.parse(out), {
      schema: "vfiokit/state/1",
      device: "sim:mapped",
      protocol: "v1",
      state: "running",
      raw: 0xa5a5a5a1,
      arcs: [],
      notes: [],
    });
  });

  it("takes several states in order, and prints the time of each arc", async () => {
    const words = ["state", "sim:mlx5", "pre-copy", "stop-and-copy", "stop", "running"];
    const { code, out, err } = await vfiokit([...words, "--json"]);
    assert.equal(code, 0, err);
    const { state, arcs } = JSON.parse(out);
    assert.equal(state, "running");
    assert.deepEqual(arcs.map(({ from, to }: Record<string, unknown>) => [from, to]), [
      ...[["running", "pre-copy"], ["pre-copy", "pre-copy-p2p"], ["pre-copy-p2p", "stop-copy"]],
      ...[["stop-copy", "stop"], ["stop", "running-p2p"], ["running-p2p", "running"]],
    ]);
    assert.ok(arcs.every(({ seconds }: Record<string, number>) => seconds! > 0));
    const text = await vfiokit(["state", "sim:mapped", "stop", "running"]);
    assert.match(
      text.out,
      /^sim:mapped: running .*\n {2}running → stop: \d.*\n {2}stop → running: /,
    );
  });

  it("reports the state that was reached if one of several states is refused", async () => {
    const words = ["state", "sim:trapped", "pre-copy", "stop-and-copy", "resuming", "--json"];
    const { code, out } = await vfiokit(words);
    assert.equal(code, 3);
    const { state, arcs, error } = JSON.parse(out);
    assert.equal(error.code, "no-such-arc");
    assert.equal(state, "stop-and-copy");
    assert.equal(arcs.length, 2);
  });

  it("changes it, and says that the state goes with the device", async () => {
    const { code, out, err } = await vfiokit(["state", "sim:mapped", "stop"]);
    assert.equal(code, 0);
    assert.match(out, /^sim:mapped: stop \(v1, device_state 0xa5a5a5a0\)/);
    assert.match(err, /state is gone with it/);
  });

  it("exits with 1 if the driver refuses, and says the state it is in", async () => {
    const { code, out } = await vfiokit(
      ["state", "sim:mapped?fault=transition:1:EINVAL", "stop", "--json"],
    );
    const { error, state } = JSON.parse(out);
    assert.equal(code, 1);
    assert.equal(state, "running");
    assert.equal(error.errno, "EINVAL");
    assert.equal(error.deviceState, "running");
  });

  it("exits with 5 for a device whose state cannot be read", async () => {
    const words = ["state", "sim:mlx5?fault=state-read:1:EIO", "--json"];
    const { code, out, err } = await vfiokit(words);
    assert.equal(code, 5, err);
    assert.equal(JSON.parse(out).state, "unknown");
    // It may be read the next time; a reset comes after that.
    assert.match(
      err,
      /could not be read; ask again: vfiokit state '(sim:mlx5\S*)'; if .* reset '\1'$/m,
    );
    assert.doesNotMatch(err, /only a reset/);
  });

  it("exits with 3 for a device without migration", async () => {
    assert.equal((await vfiokit(["state", "sim:none"])).code, 3);
  });
});

describe("vfiokit reset", () => {
  it("resets a device, and prints its state", async () => {
    const { code, out } = await vfiokit(["reset", "sim:trapped", "--json"]);
    assert.equal(code, 0);
    assert.equal(JSON.parse(out).state, "running");
  });

  it("resets a device that has no migration state", async () => {
    const { code, out } = await vfiokit(["reset", "sim:none"]);
    assert.equal(code, 0);
    assert.equal(out, "sim:none: reset\n");
  });

  it("tries again if the device's lock is held for a moment", async () => {
    const { code, out } = await vfiokit(["reset", "sim:trapped?size=64KiB&fault=reset:1:EAGAIN"]);
    assert.equal(code, 0);
    assert.match(out, /: reset, running\n$/);
  });

  it("fails if the reset fails", async () => {
    const { code } = await vfiokit(["reset", "sim:mapped?fault=reset:1:EIO"]);
    assert.ok(code === 1 || code === 5);
  });
});

describe("vfiokit uapi", () => {
  it("prints every number and layout as JSON", async () => {
    const { code, out } = await vfiokit(["uapi", "--json"]);
    const { schema, ioctls, constants, structs } = JSON.parse(out);
    assert.equal(code, 0);
    assert.equal(schema, "vfiokit/uapi/1");
    assert.equal(ioctls.VFIO_DEVICE_RESET, "0x3b6f");
    assert.equal(constants.VFIO_REGION_INFO_FLAG_MMAP, 4);
    assert.equal(structs.vfio_region_info.size, 32);
    assert.deepEqual(structs.vfio_region_info.fields[0], {
      name: "argsz",
      offset: 0,
      size: 4,
      type: "u32",
    });
  });

  it("prints one name alone, in words", async () => {
    const reset = await vfiokit(["uapi", "VFIO_DEVICE_RESET"]);
    assert.equal(reset.out, "VFIO_DEVICE_RESET 0x3b6f\n");
    const info = await vfiokit(["uapi", "vfio_region_info"]);
    assert.match(
      info.out,
      /^struct vfio_region_info, 32 bytes\n {2}offset {2}size {2}type {2}field/,
    );
  });

  it("exits with 2 for a name that the headers do not have", async () => {
    const { code, err } = await vfiokit(["uapi", "VFIO_NONSENSE"]);
    assert.equal(code, 2);
    assert.match(err, /VFIO_NONSENSE/);
  });
});

describe("vfiokit demo", () => {
  it("restores a state equal to the one it saved", async () => {
    const { code, out, err } = await vfiokit(["demo"]);
    assert.equal(code, 0, err);
    assert.match(out, /pre-copy .*\n.*stop-and-copy/);
    assert.match(out, /equal to the last bit; the protocol was kept to/);
    const crc = (who: string): string | undefined =>
      new RegExp(`${who} +\\w+ +(0x[0-9a-f]{8})`).exec(out)?.[1];
    assert.equal(crc("second, restored"), crc("first, saved"));
    assert.notEqual(crc("second, before"), crc("first, saved"));
    assert.notEqual(crc("first, before"), crc("first, saved"));
  });
});
