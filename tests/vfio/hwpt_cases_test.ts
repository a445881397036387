import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { openFds } from "../../src/kernel/fd.ts";
import { O_RDWR } from "../../src/kernel/kernel.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import * as uapi from "../../src/uapi/mod.ts";
import { askCases } from "../dirty/type1_cases/case.ts";
import { HWPT_CASES, HwptAsker, type HwptHost } from "./hwpt_cases/mod.ts";

function simHost(): { host: HwptHost; kernel: SimKernel } {
  const spec = "trapped?size=64KiB&cdev=1&iommu=";
  const kernel = new SimKernel(`${spec}dirty-tracking`, `${spec}all-dirty`);
  const bind: HwptHost["bind"] = (iommufd, ioas, tracks) => {
    const index = tracks ? 0 : 1;
    const fd = kernel.open(`/dev/vfio/devices/vfio${index}`, O_RDWR);
    const argument = uapi.vfioDeviceBindIommufd.pack({ iommufd });
    kernel.ioctl(fd, uapi.VFIO_DEVICE_BIND_IOMMUFD, argument);
    const attach = (pt_id: number): void => {
      const attach = uapi.vfioDeviceAttachIommufdPt.pack({ pt_id });
      kernel.ioctl(fd, uapi.VFIO_DEVICE_ATTACH_IOMMUFD_PT, attach);
    };
    attach(ioas);
    return {
      id: uapi.vfioDeviceBindIommufd.unpack(argument).out_devid,
      attach,
      write: (_table, iova) => kernel.devices[index]!.dma.write(iova, new Uint8Array([1])),
      close: () => kernel.close(fd),
    };
  };
  return { kernel, host: { kernel, bind } };
}

for (const group of HWPT_CASES) {
  describe(`an iommufd's dirty tracking: ${group.name}`, () => {
    const { kernel, host } = simHost();
    const asker = new HwptAsker(host);
    const asked = { version: "6.12", hardware: true, dma: null };
    const rows = [...askCases(group, asked, asker)];
    asker.close();
    for (const { name, got, expected } of rows) {
      it(`${name}: ${expected}`, () => assert.equal(got, expected));
    }
    it("leaves nothing open", () => {
      assert.deepEqual(kernel.openObjects, []);
      assert.deepEqual(openFds(), []);
    });
  });
}
