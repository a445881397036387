/**
 * An open character device of one VFIO device: /dev/vfio/devices/vfioN.
 */

import {
  VFIO_DEVICE_ATTACH_IOMMUFD_PT,
  VFIO_DEVICE_BIND_IOMMUFD,
  VFIO_DEVICE_DETACH_IOMMUFD_PT,
  vfioDeviceAttachIommufdPt,
  vfioDeviceBindIommufd,
  vfioDeviceDetachIommufdPt,
} from "../../uapi/mod.ts";
import { DeviceFile } from "../device/device_file.ts";
import type { GroupHost, SimGroup } from "./group.ts";
import { IommufdFile } from "./iommufd.ts";
import { type MappedRange, OpenFile } from "../os/open_file.ts";
import { refuse } from "../os/refusal.ts";
import type { Bytes } from "../os/bytes.ts";
import { type Argument, fromUser, toUser } from "../os/user.ts";

/** A device that is bound to an iommufd, and therefore usable. */
interface Bound {
  readonly iommufd: IommufdFile;
  /** The device's id in the iommufd. */
  readonly id: number;
  /** The file that answers the device's requests. */
  readonly device: DeviceFile;
}

/** An open character device; until it is bound, only the bind request works. */
export class CdevFile extends OpenFile {
  readonly label: string;
  readonly #group: SimGroup;
  readonly #host: GroupHost;
  #bound: Bound | null = null;

  constructor(path: string, group: SimGroup, host: GroupHost) {
    super();
    this.label = path;
    this.#group = group;
    this.#host = host;
  }

  protected release(): void {
    if (this.#bound === null) return;
    const { iommufd, id, device } = this.#bound;
    this.#bound = null;
    try {
      device.drop();
    } finally {
      iommufd.unbind(id);
      this.#group.unblock();
    }
  }

  get #device(): Bound {
    return this.#bound ?? refuse("EINVAL");
  }

  ioctl(request: number, arg: Argument): number {
    if (request === VFIO_DEVICE_BIND_IOMMUFD) return this.#bind(arg);
    const { device } = this.#device;
    switch (request) {
      case VFIO_DEVICE_ATTACH_IOMMUFD_PT:
        return this.#attach(arg);
      case VFIO_DEVICE_DETACH_IOMMUFD_PT:
        return this.#detach(arg);
      default:
        return device.ioctl(request, arg);
    }
  }

  #bind(arg: Argument): number {
    const bind = fromUser(vfioDeviceBindIommufd, arg);
    if (bind.argsz < vfioDeviceBindIommufd.size || bind.flags !== 0 || bind.iommufd < 0) {
      refuse("EINVAL");
    }
    const group = this.#group;
    group.block();
    try {
      this.#bound = this.#bindTo(bind.iommufd);
    } catch (error) {
      group.unblock();
      throw error;
    }
    toUser(vfioDeviceBindIommufd, arg, { ...bind, out_devid: this.#bound.id });
    return 0;
  }

  #bindTo(fd: number): Bound {
    if (this.#bound !== null) refuse("EINVAL");
    const iommufd = this.#host.file(fd);
    if (!(iommufd instanceof IommufdFile)) return refuse("EBADFD");
    const { device } = this.#group;
    // A device can be bound by one user only: nothing else would keep two of them apart.
    if (device.opened) refuse("EINVAL");
    const fault = device.faults.standing("bind");
    if (fault !== undefined) refuse(fault.errno);
    if (device.faults.standing("unsafe-interrupts") !== undefined) refuse("EPERM");
    this.#group.claim();
    const id = iommufd.bind(device.dma);
    try {
      device.open();
    } catch (error) {
      iommufd.unbind(id);
      throw error;
    }
    const file = new DeviceFile(device, this.#host, () => device.close());
    file.hold();
    return { iommufd, id, device: file };
  }

  #attach(arg: Argument): number {
    const attach = fromUser(vfioDeviceAttachIommufdPt, arg);
    if (attach.argsz < vfioDeviceAttachIommufdPt.size || attach.flags !== 0) refuse("EINVAL");
    const { iommufd, id } = this.#device;
    const fault = this.#group.device.faults.standing("attach");
    if (fault !== undefined) refuse(fault.errno);
    const pt_id = iommufd.attach(id, attach.pt_id);
    toUser(vfioDeviceAttachIommufdPt, arg, { ...attach, pt_id });
    return 0;
  }

  #detach(arg: Argument): number {
    const { argsz, flags } = fromUser(vfioDeviceDetachIommufdPt, arg);
    if (argsz < vfioDeviceDetachIommufdPt.size || flags !== 0) refuse("EINVAL");
    const { iommufd, id } = this.#device;
    iommufd.detach(id);
    return 0;
  }

  override pread(at: number, into: Bytes): number {
    return this.#device.device.pread(at, into);
  }

  override pwrite(at: number, from: Bytes): number {
    return this.#device.device.pwrite(at, from);
  }

  override mmap(at: number, length: number, shared: boolean): MappedRange {
    return this.#device.device.mmap(at, length, shared);
  }
}
