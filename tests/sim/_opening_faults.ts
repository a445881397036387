/**
 * One check per fault of the calls that open a device.
 */

import assert from "node:assert/strict";
import { isErrno } from "../../src/kernel/sys_error.ts";
import { O_RDWR } from "../../src/kernel/kernel.ts";
import type { FaultName } from "../../src/sim/faults/fault_plan.ts";
import { SimKernel, SimSpecError } from "../../src/sim/mod.ts";
import {
  IOMMU_IOAS_ALLOC,
  iommuIoasAlloc,
  VFIO_DEVICE_ATTACH_IOMMUFD_PT,
  VFIO_DEVICE_BIND_IOMMUFD,
  VFIO_DEVICE_GET_INFO,
  VFIO_GROUP_GET_STATUS,
  vfioDeviceAttachIommufdPt,
  vfioDeviceBindIommufd,
  vfioDeviceInfo,
  vfioGroupStatus,
} from "../../src/uapi/mod.ts";
import { Client } from "./_client.ts";

function refused(code: string, call: () => unknown): void {
  assert.throws(call, (error) => isErrno(error, code), code);
}

type Act = (make: (query: string) => Client) => void;

/** Opens a device by its own node, call by call. */
function openByCdev(kernel: SimKernel): void {
  const fds: number[] = [];
  const open = (path: string): number => fds[fds.push(kernel.open(path, O_RDWR)) - 1]!;
  try {
    const iommufd = open("/dev/iommu");
    const fd = open("/dev/vfio/devices/vfio0");
    kernel.ioctl(fd, VFIO_DEVICE_BIND_IOMMUFD, vfioDeviceBindIommufd.pack({ iommufd }));
    const ioas = iommuIoasAlloc.pack({});
    kernel.ioctl(iommufd, IOMMU_IOAS_ALLOC, ioas);
    const { out_ioas_id: pt_id } = iommuIoasAlloc.unpack(ioas);
    kernel.ioctl(
      fd,
      VFIO_DEVICE_ATTACH_IOMMUFD_PT,
      vfioDeviceAttachIommufdPt.pack({ pt_id }),
    );
  } finally {
    for (const fd of fds.reverse()) kernel.close(fd);
  }
}

/** The fault affects opening by the node, but not by the group. */
function byCdev(fault: string, code: string): Act {
  return (make) => {
    const client = make(`cdev=1&fault=${fault}`);
    client.close();
    refused(code, () => openByCdev(client.kernel));
  };
}

/** The fault affects opening by the group and by the node. */
function byBoth(fault: string, group: string, cdev: string): Act {
  return (make) => {
    refused(group, () => make(`fault=${fault}`));
    refused(cdev, () => openByCdev(new SimKernel(`trapped?cdev=1&fault=${fault}`)));
  };
}

/** The fault affects functions behind an IOMMU only. */
function behindIommu(fault: string, group: string, cdev: string): Act {
  return () => {
    refused(group, () => Client.of(`mlx5?fault=${fault}`));
    refused(cdev, () => openByCdev(new SimKernel(`mlx5?cdev=1&fault=${fault}`)));
    assert.throws(() => new SimKernel(`trapped?fault=${fault}`), SimSpecError);
  };
}

/** The effect that the opener of the device sees, per fault. */
export const OPENING_ACTS: Readonly<Partial<Record<FaultName, Act>>> = {
  "open-container": (make) => refused("EMFILE", () => make("fault=open-container:EMFILE")),
  "open-iommufd": byCdev("open-iommufd:EMFILE", "EMFILE"),
  "group-status": (make) => {
    using client = make("fault=group-status:ENODEV");
    const { kernel, group } = client;
    refused("ENODEV", () => kernel.ioctl(group, VFIO_GROUP_GET_STATUS, vfioGroupStatus.pack({})));
  },
  "set-container": (make) => refused("EINVAL", () => make("fault=set-container:EINVAL")),
  "set-iommu": (make) => refused("EPERM", () => make("fault=set-iommu:EPERM")),
  "device-fd": (make) => refused("EIO", () => make("fault=device-fd:EIO")),
  "bind": byCdev("bind:EIO", "EIO"),
  "ioas-alloc": byCdev("ioas-alloc:ENOMEM", "ENOMEM"),
  "attach": byCdev("attach:EEXIST", "EEXIST"),
  "device-info": (make) => {
    using client = make("fault=device-info:EIO");
    const { kernel, fd } = client;
    refused("EIO", () => kernel.ioctl(fd, VFIO_DEVICE_GET_INFO, vfioDeviceInfo.pack({})));
  },
  "no-container-node": (make) => {
    refused("ENOENT", () => make("fault=no-container-node"));
    const kernel = new SimKernel("trapped?fault=no-container-node");
    assert.equal(kernel.realPath("/sys/class/misc/vfio"), "/sys/class/misc/vfio");
  },
  "no-iommu-node": (make) => {
    byCdev("no-iommu-node", "ENOENT")(make);
    const kernel = new SimKernel("trapped?cdev=1&fault=no-iommu-node");
    assert.equal(kernel.realPath("/sys/class/misc/iommu"), "/sys/class/misc/iommu");
  },
  "no-device-node": byBoth("no-device-node", "ENOENT", "ENOENT"),
  "isa-bridge": byBoth("isa-bridge", "EPERM", "EPERM"),
  "firmware-region": behindIommu("firmware-region", "EINVAL", "EINVAL"),
  "unsafe-interrupts": behindIommu("unsafe-interrupts", "EPERM", "EPERM"),
};
