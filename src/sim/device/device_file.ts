/**
 * An open device: the file that VFIO_GROUP_GET_DEVICE_FD returns.
 */

import {
  VFIO_DEVICE_BIND_IOMMUFD,
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FLAGS_PCI,
  VFIO_DEVICE_FLAGS_RESET,
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_DEVICE_RESET,
  VFIO_DEVICE_SET_IRQS,
  VFIO_PCI_NUM_IRQS,
  VFIO_PCI_VGA_REGION_INDEX,
  VFIO_REGION_INFO_FLAG_MMAP,
  vfioDeviceBindIommufd,
  vfioDeviceInfo,
  vfioRegionInfo,
} from "../../uapi/mod.ts";
import type { DeviceModel } from "./device_model.ts";
import { Features } from "./features.ts";
import { type Install, type MappedRange, OpenFile } from "../os/open_file.ts";
import { refuse } from "../os/refusal.ts";
import type { Bytes } from "../os/bytes.ts";
import type { DeviceRegion } from "../driver/region.ts";
import { REGION_SHIFT, regionAnswer } from "./region_info.ts";
import { type Argument, bytesToUser, fromUser, toUser } from "../os/user.ts";
import type { UserMemory } from "../os/user_memory.ts";

const REGION_SPAN = 2 ** Number(REGION_SHIFT);

/** Size of struct vfio_device_info before it had capabilities. */
const INFO_LEAST = vfioDeviceInfo.offsetOf("cap_offset");

/** What an open device needs from the kernel. */
export interface DeviceHost {
  /** Installs an fd. */
  readonly install: Install;
  /** The memory of the process that opens it. */
  readonly memory: UserMemory;
  /** The file of an fd. */
  file(fd: number): OpenFile;
  /** Whether the kernel has a character device per device. */
  readonly cdevs: boolean;
}

/** An open device. */
export class DeviceFile extends OpenFile {
  readonly label: string;
  readonly #device: DeviceModel;
  readonly #features: Features;
  readonly #file: DeviceHost["file"];
  readonly #cdevs: boolean;
  readonly #closed: () => void;

  constructor(
    device: DeviceModel,
    { install, memory, file, cdevs }: DeviceHost,
    closed: () => void,
  ) {
    super();
    this.label = `vfio device ${device.name}`;
    this.#device = device;
    this.#features = new Features(device, install, memory);
    this.#file = file;
    this.#cdevs = cdevs;
    this.#closed = closed;
    device.fileMade(this, install);
  }

  protected release(): void {
    this.#closed();
    for (const { errno } of this.#device.faults.due("close")) refuse(errno);
  }

  ioctl(request: number, arg: Argument): number {
    this.#device.checkPresent();
    switch (request) {
      case VFIO_DEVICE_GET_INFO:
        return this.#info(arg);
      case VFIO_DEVICE_GET_REGION_INFO:
        return this.#regionInfo(arg);
      case VFIO_DEVICE_GET_IRQ_INFO:
        return this.#device.interrupts.info(arg);
      case VFIO_DEVICE_SET_IRQS:
        return this.#device.interrupts.set(arg, this.#file);
      case VFIO_DEVICE_RESET:
        this.#device.reset();
        return 0;
      case VFIO_DEVICE_FEATURE:
        return this.#features.ioctl(arg);
      case VFIO_DEVICE_BIND_IOMMUFD:
        return this.#bind(arg);
      default:
        return refuse("ENOTTY");
    }
  }

  /** A device that was opened by its group cannot be bound: only its own node can. */
  #bind(arg: Argument): number {
    if (this.#cdevs) fromUser(vfioDeviceBindIommufd, arg);
    return refuse(this.#cdevs ? "EINVAL" : "ENOTTY");
  }

  #info(arg: Argument): number {
    const { argsz } = fromUser(vfioDeviceInfo, arg, INFO_LEAST);
    if (argsz < INFO_LEAST) refuse("EINVAL");
    const fault = this.#device.faults.standing("device-info");
    if (fault !== undefined) refuse(fault.errno);
    const info = {
      argsz,
      flags: VFIO_DEVICE_FLAGS_RESET | VFIO_DEVICE_FLAGS_PCI,
      num_regions: this.#device.numRegions,
      num_irqs: VFIO_PCI_NUM_IRQS,
      cap_offset: 0,
    };
    const { size } = vfioDeviceInfo;
    toUser(vfioDeviceInfo, arg, info, argsz >= size ? size : INFO_LEAST);
    return 0;
  }

  #regionInfo(arg: Argument): number {
    const { argsz, index } = fromUser(vfioRegionInfo, arg);
    const { size } = vfioRegionInfo;
    if (argsz < size) refuse("EINVAL");
    // As in vfio-pci: only a VGA device has a VGA region; others don't even have an empty one.
    if (index >= this.#device.numRegions || index === VFIO_PCI_VGA_REGION_INDEX) refuse("EINVAL");
    const { info, capabilities } = regionAnswer(this.#device, index);
    const needed = size + capabilities.length;
    const fits = capabilities.length > 0 && argsz >= needed;
    if (fits) bytesToUser(arg, size, capabilities);
    toUser(vfioRegionInfo, arg, {
      ...info,
      argsz: Math.max(argsz, needed),
      cap_offset: fits ? size : 0,
    });
    return 0;
  }

  /** The region at a position of the file. */
  #region(at: number): { region: DeviceRegion; start: number } {
    this.#device.checkPresent();
    const index = Math.floor(at / REGION_SPAN);
    const region = this.#device.region(index) ?? refuse("EINVAL");
    return { region, start: index * REGION_SPAN };
  }

  override pread(at: number, into: Bytes): number {
    const { region, start } = this.#region(at);
    return region.pread(at - start, into);
  }

  override pwrite(at: number, from: Bytes): number {
    const { region, start } = this.#region(at);
    return region.pwrite(at - start, from);
  }

  override mmap(at: number, length: number, shared: boolean): MappedRange {
    const { region, start } = this.#region(at);
    const fault = this.#device.faults.standing("mmap");
    if (fault !== undefined) refuse(fault.errno);
    const { migration } = this.#device;
    if (!shared || region !== migration || (region.flags & VFIO_REGION_INFO_FLAG_MMAP) === 0) {
      return refuse("EINVAL");
    }
    const from = at - start;
    if (!covers(migration.areas ?? [], from, from + length)) refuse("EINVAL");
    return {
      load: (offset, into) => migration.load(from + offset, into),
      store: (offset, bytes) => migration.store(from + offset, bytes),
    };
  }
}

/** Whether areas together cover a range without a gap. */
function covers(
  areas: readonly { readonly offset: number; readonly size: number }[],
  from: number,
  to: number,
): boolean {
  for (let at = from; at < to;) {
    const area = areas.find(({ offset, size }) => offset <= at && at < offset + size);
    if (area === undefined) return false;
    at = area.offset + area.size;
  }
  return true;
}
