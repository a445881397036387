/**
 * Binding a device to an iommufd, attaching it to an IOAS, and what either is
 * before and after.
 *
 * @module
 */

import { O_RDWR } from "../../../src/kernel/kernel.ts";
import {
  VFIO_DEVICE_ATTACH_IOMMUFD_PT,
  VFIO_DEVICE_BIND_IOMMUFD,
  VFIO_DEVICE_DETACH_IOMMUFD_PT,
  VFIO_DEVICE_RESET,
} from "../../../src/uapi/mod.ts";
import type { CaseGroup } from "../../dirty/type1_cases/case.ts";
import type { CdevAsker } from "./asker.ts";

const NO_FD = 9999;

export const BINDING: CaseGroup<CdevAsker> = {
  name: "binding",
  opened: false,
  cases: [
    {
      name: "open /dev/iommu",
      ask: (a) => void (a.iommufd = a.host.kernel.open("/dev/iommu", O_RDWR)),
      answer: "0",
    },
    {
      name: "open the device's node",
      ask: (a) => void (a.device = a.host.kernel.open(a.host.node, O_RDWR)),
      answer: "0",
    },
    { name: "GET_INFO before BIND", ask: (a) => a.info(), answer: "EINVAL" },
    {
      name: "RESET before BIND",
      ask: (a) => void a.ioctl(a.device, VFIO_DEVICE_RESET),
      answer: "EINVAL",
    },
    { name: "FEATURE before BIND", ask: (a) => a.feature(), answer: "EINVAL" },
    {
      name: "an unknown number before BIND",
      ask: (a) => void a.ioctl(a.device, 0x3bff),
      answer: "EINVAL",
    },
    { name: "ATTACH before BIND", ask: (a) => a.attach(1), answer: "EINVAL" },
    { name: "DETACH before BIND", ask: (a) => a.detach(), answer: "EINVAL" },
    {
      name: "pread before BIND",
      ask: (a) => void a.host.kernel.pread(a.device, new Uint8Array(4), 0),
      answer: "EINVAL",
    },
    {
      name: "pwrite before BIND",
      ask: (a) => void a.host.kernel.pwrite(a.device, new Uint8Array(4), 0),
      answer: "EINVAL",
    },
    { name: "mmap before BIND", ask: (a) => a.mmapDevice(), answer: "EINVAL" },
    {
      name: "BIND with no argument",
      ask: (a) => void a.ioctl(a.device, VFIO_DEVICE_BIND_IOMMUFD),
      answer: "EFAULT",
    },
    { name: "BIND argsz one byte short", ask: (a) => a.bind({ argsz: 15 }), answer: "EINVAL" },
    { name: "BIND unknown flag", ask: (a) => a.bind({ flags: 2 }), answer: "EINVAL" },
    {
      name: "BIND with a token's flag, before kernels know it",
      ask: (a) => a.bind({ flags: 1 }),
      answer: { "6.12": "EINVAL" },
    },
    { name: "BIND to fd -1", ask: (a) => a.bind({ iommufd: -1 }), answer: "EINVAL" },
    { name: "BIND to what is not open", ask: (a) => a.bind({ iommufd: NO_FD }), answer: "EBADF" },
    {
      name: "BIND to a file that is no iommufd",
      ask: (a) => a.bind({ iommufd: a.memfd() }),
      answer: "EBADFD",
    },
    {
      name: "BIND while the group is open",
      ask: (a) => {
        a.openOther(a.host.group);
        return a.bind();
      },
      answer: "EBUSY",
    },
    {
      name: "BIND, argsz larger than it is",
      ask: (a) => {
        a.closeOther();
        return a.bind({ argsz: 64 });
      },
      answer: "0 device 1",
    },
    { name: "BIND again", ask: (a) => a.bind(), answer: "EINVAL" },
    {
      name: "open the node once more",
      ask: (a) => void a.openOther(a.host.node),
      answer: "0",
    },
    {
      name: "BIND of that",
      ask: (a) => a.bind({ device: a.openOther(a.host.node) }),
      answer: "EINVAL",
    },
    { name: "GET_INFO of that", ask: (a) => a.info(a.openOther(a.host.node)), answer: "EINVAL" },
    {
      name: "open the group meanwhile",
      ask: (a) => void a.openOther(a.host.group),
      answer: "EBUSY",
    },
    { name: "GET_INFO", ask: (a) => a.info(), answer: "0" },
    {
      name: "an unknown number",
      ask: (a) => void a.ioctl(a.device, 0x3bff),
      answer: "ENOTTY",
    },
    {
      name: "the iommufd is closed: the device is still there",
      ask: (a) => {
        a.closeIommufd();
        a.info();
      },
      answer: "0",
    },
    {
      name: "the device is closed: the group can be opened",
      ask: (a) => {
        a.closeDevice();
        a.openOther(a.host.group);
      },
      answer: "0",
    },
  ],
};

export const ATTACHING: CaseGroup<CdevAsker> = {
  name: "attaching",
  opened: true,
  cases: [
    {
      name: "a number that no iommufd knows",
      ask: (a) => void a.ioctl(a.iommufd, 0x3bff),
      answer: "ENOTTY",
    },
    {
      name: "a number of containers",
      ask: (a) => void a.ioctl(a.iommufd, 0x3b75),
      answer: "ENOTTY",
    },
    {
      name: "IOAS_ALLOC with no argument",
      ask: (a) => void a.ioctl(a.iommufd, 0x3b81),
      answer: "EFAULT",
    },
    { name: "IOAS_ALLOC one byte short", ask: (a) => void a.allocate(11), answer: "EINVAL" },
    { name: "IOAS_ALLOC unknown flag", ask: (a) => void a.allocate(12, 1), answer: "EOPNOTSUPP" },
    {
      name: "IOAS_ALLOC with more than it has",
      ask: (a) => void a.allocate(16, 0, 1),
      answer: "E2BIG",
    },
    {
      name: "IOAS_ALLOC with zeros behind",
      ask: (a) => `IOAS ${a.allocate(16)}`,
      answer: "0 IOAS 3",
      // The page table of the first IOAS has number 3.
      hardware: "0 IOAS 4",
    },
    {
      name: "ATTACH with no argument",
      ask: (a) => void a.ioctl(a.device, VFIO_DEVICE_ATTACH_IOMMUFD_PT),
      answer: "EFAULT",
    },
    {
      name: "ATTACH argsz one byte short",
      ask: (a) => a.attach(2, { argsz: 11 }),
      answer: "EINVAL",
    },
    { name: "ATTACH unknown flag", ask: (a) => a.attach(2, { flags: 2 }), answer: "EINVAL" },
    { name: "ATTACH to what is not there", ask: (a) => a.attach(77), answer: "ENOENT" },
    {
      name: "ATTACH to the device itself",
      ask: (a) => a.attach(1),
      answer: "ENOENT",
      hardware: "EINVAL",
    },
    {
      name: "ATTACH where it is",
      ask: (a) => a.attach(2),
      answer: "0 table 2",
      hardware: "0 table 3",
    },
    { name: "DESTROY of an IOAS in use", ask: (a) => a.destroy(2), answer: "EBUSY" },
    { name: "DESTROY of a device", ask: (a) => a.destroy(1), answer: "EBUSY" },
    { name: "DESTROY of what is not there", ask: (a) => a.destroy(77), answer: "ENOENT" },
    {
      name: "ATTACH to another IOAS",
      ask: (a) => a.attach(a.host.hardware ? 4 : 3),
      answer: "0 table 3",
      hardware: "0 table 5",
    },
    { name: "DESTROY of the first, which is free now", ask: (a) => a.destroy(2), answer: "0" },
    { name: "DESTROY again", ask: (a) => a.destroy(2), answer: "ENOENT" },
    {
      name: "DETACH with no argument",
      ask: (a) => void a.ioctl(a.device, VFIO_DEVICE_DETACH_IOMMUFD_PT),
      answer: "EFAULT",
    },
    { name: "DETACH argsz one byte short", ask: (a) => a.detach({ argsz: 7 }), answer: "EINVAL" },
    { name: "DETACH unknown flag", ask: (a) => a.detach({ flags: 2 }), answer: "EINVAL" },
    { name: "DETACH", ask: (a) => a.detach(), answer: "0" },
    { name: "DETACH of what is not attached", ask: (a) => a.detach(), answer: "0" },
    {
      name: "IOVA_RANGES of an IOAS without devices",
      ask: (a) => a.ranges(8, { ioas: a.host.hardware ? 4 : 3 }),
      answer: "0 alignment 1, 0x0-0xffffffffffffffff",
    },
    {
      name: "ATTACH where something is mapped off a page",
      ask: (a) => {
        a.ioas = a.host.hardware ? 4 : 3;
        a.mapAt(0x1001n, 0x1000n, { vaddr: a.ram.address + 1n });
        return a.attach(a.ioas);
      },
      answer: "EADDRINUSE",
    },
    {
      name: "ATTACH when it is gone",
      ask: (a) => {
        a.unmapAt(0x1001n, 0x1000n);
        a.attach(a.ioas);
      },
      answer: "0",
    },
  ],
};
