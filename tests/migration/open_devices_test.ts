import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { openFds } from "../../src/kernel/fd.ts";
import { openDevices } from "../../src/migration/open_devices.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { CDEV_PATH, fakeCdev } from "../vfio/_fake_cdev.ts";
import { addPci, ADDRESS, fakeVfio } from "../vfio/_fake_vfio.ts";

const OTHER = "0000:3b:00.2";

describe("openDevices()", () => {
  it("opens each by the given name, on a separate thread", async () => {
    const names = ["sim:mlx5?size=1MiB", "sim:mlx5?size=1MiB", "sim:trapped"];
    await using devices = await openDevices(names);
    assert.deepEqual(devices.map(({ name }) => name), names);
    assert.deepEqual(devices.map(({ description }) => description.p2p), [true, true, false]);
    assert.deepEqual(devices.map(({ description }) => description.precopy), [true, true, true]);
  });

  it("shares a group among its devices, and closes the one that opened it last", async () => {
    const kernel = fakeVfio({ devices: [ADDRESS, OTHER] });
    addPci(kernel, OTHER, "/sys/devices/pci0000:3a/0000:3b:00.2", 12, "ice-vfio-pci");
    {
      await using devices = await openDevices([ADDRESS, OTHER], { kernel });
      const [first, second] = devices.map(({ description }) => description.fds);
      assert.equal(first!.group, second!.group);
      assert.equal(first!.container, second!.container);
      assert.notEqual(first!.device, second!.device);
      assert.deepEqual(devices.map(({ description }) => description.borrowed), [false, false]);
    }
    assert.equal(kernel.fds.size, 0);
    assert.deepEqual(openFds(), []);
  });

  it("shares an iommufd and an IOAS among the devices of a group", async () => {
    const { kernel } = fakeCdev();
    const folder = "/sys/devices/pci0000:3a/0000:3b:00.2";
    addPci(kernel, OTHER, folder, 12, "ice-vfio-pci");
    kernel.texts.set(`${folder}/vfio-dev/vfio8/dev`, "511:8\n");
    kernel.nodes.set("/dev/vfio/devices/vfio8", kernel.nodes.get(CDEV_PATH)!);
    {
      await using devices = await openDevices([ADDRESS, OTHER], { kernel });
      const [first, second] = devices.map(({ description }) => description);
      assert.equal(first!.fds.iommufd, second!.fds.iommufd);
      assert.deepEqual([first!.ioas, second!.ioas, second!.fds.group], [1, 1, null]);
    }
    assert.equal(kernel.log.filter((line) => line === "open /dev/iommu").length, 1);
    assert.deepEqual(kernel.log.filter((line) => line.startsWith("destroy")), ["destroy 1"]);
    assert.equal(kernel.fds.size, 0);
    assert.deepEqual(openFds(), []);
  });

  it("leaves none open if one cannot be opened", async () => {
    const kernel = fakeVfio({ devices: [ADDRESS] });
    await assert.rejects(openDevices([ADDRESS, OTHER], { kernel }), { name: "UnsupportedError" });
    assert.equal(kernel.fds.size, 0);
    assert.deepEqual(openFds(), []);
  });

  it("refuses a device twice, by whatever names, before it opens any", async () => {
    const kernel = new SimKernel("mlx5", "qat");
    const [first, second] = kernel.devices.map(({ path }) => path);
    const path = kernel.realPath(`/sys/bus/pci/devices/${first}`);
    for (const again of [first!, first!.slice("0000:".length), path]) {
      await assert.rejects(openDevices([first!, second!, again], { kernel }), {
        name: "DeviceNameError",
        message: again === first
          ? `Cannot open "${first}" twice`
          : `Cannot open "${again}" twice: it is the same device as "${first}"`,
      });
    }
    await assert.rejects(openDevices(["fd:7", "fd:7"], { kernel }), /Cannot open "fd:7" twice/);
    assert.deepEqual(kernel.openObjects, []);
  });
});
