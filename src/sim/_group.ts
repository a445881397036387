/**
 * An IOMMU group: /dev/vfio/N.
 */

import {
  VFIO_GROUP_FLAGS_CONTAINER_SET,
  VFIO_GROUP_FLAGS_VIABLE,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_GROUP_GET_STATUS,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_GROUP_UNSET_CONTAINER,
  vfioGroupStatus,
} from "../uapi/mod.ts";
import { ContainerFile } from "./_container.ts";
import type { Device } from "./_device.ts";
import { DeviceFile, type DeviceHost } from "./_device_file.ts";
import { OpenFile } from "./_open_file.ts";
import { refuse } from "./_refusal.ts";
import { type Argument, fromUser, intFromUser, stringFromUser, toUser } from "./_user.ts";

/** What opening a group needs of the kernel. */
export interface GroupHost extends DeviceHost {
  /** The file behind an fd; EBADF where there is none. */
  file(fd: number): OpenFile;
}

/** A group with one device. */
export class Group {
  /** Its number. */
  readonly number: number;
  /** The device in it. */
  readonly device: Device;
  #opened = false;
  /** Devices of it that are bound by their own nodes. */
  #bound = 0;

  constructor(number: number, device: Device) {
    this.number = number;
    this.device = device;
  }

  /** Opens it; it can be open once. */
  open(host: GroupHost): GroupFile {
    this.#refuseOpening();
    if (this.#bound > 0) refuse("EBUSY");
    this.#refuseTwo();
    this.#opened = true;
    return new GroupFile(this, host, () => {
      this.#opened = false;
    });
  }

  #refuseOpening(): void {
    const { faults } = this.device;
    const fault = faults.standing("open");
    if (fault !== undefined) refuse(fault.errno);
    if (faults.due("open").length > 0) refuse("ENOENT");
  }

  #refuseTwo(): void {
    if (this.#opened || this.device.faults.standing("group-busy") !== undefined) refuse("EBUSY");
  }

  /** Opens its device's own node; any number of times. */
  openCdev(open: () => OpenFile): OpenFile {
    this.#refuseOpening();
    this.device.checkPresent();
    return open();
  }

  /** A device is bound by its own node: the group cannot be opened meanwhile. */
  block(): void {
    this.#refuseTwo();
    this.#bound += 1;
  }

  /** It no longer is. */
  unblock(): void {
    this.#bound -= 1;
  }
}

/** An open group. Its devices' files hold it, and its container, open. */
export class GroupFile extends OpenFile {
  readonly label: string;
  readonly #group: Group;
  readonly #host: GroupHost;
  readonly #closed: () => void;
  #container: ContainerFile | null = null;
  /** Device files that use the container. */
  #users = 0;

  constructor(group: Group, host: GroupHost, closed: () => void) {
    super();
    this.label = `/dev/vfio/${group.number}`;
    this.#group = group;
    this.#host = host;
    this.#closed = closed;
  }

  protected release(): void {
    this.#container?.detach(this.#group.device.dma);
    this.#container = null;
    this.#closed();
  }

  ioctl(request: number, arg: Argument): number {
    switch (request) {
      case VFIO_GROUP_GET_STATUS:
        return this.#status(arg);
      case VFIO_GROUP_SET_CONTAINER:
        return this.#setContainer(arg);
      case VFIO_GROUP_UNSET_CONTAINER:
        return this.#unsetContainer();
      case VFIO_GROUP_GET_DEVICE_FD:
        return this.#openDevice(arg);
      default:
        return refuse("ENOTTY");
    }
  }

  get #viable(): boolean {
    return this.#group.device.faults.standing("group-not-viable") === undefined;
  }

  #status(arg: Argument): number {
    const { argsz } = fromUser(vfioGroupStatus, arg);
    if (argsz < vfioGroupStatus.size) refuse("EINVAL");
    const set = this.#container === null ? 0 : VFIO_GROUP_FLAGS_CONTAINER_SET;
    const viable = this.#viable ? VFIO_GROUP_FLAGS_VIABLE : 0;
    toUser(vfioGroupStatus, arg, { argsz, flags: set | viable });
    return 0;
  }

  #setContainer(arg: Argument): number {
    const container = this.#host.file(intFromUser(arg));
    if (this.#container !== null) refuse("EINVAL");
    if (!(container instanceof ContainerFile)) return refuse("EINVAL");
    // The DMA of the group is a host driver's.
    if (!this.#viable) refuse("EPERM");
    container.attach(this.#group.device.dma);
    this.#container = container;
    return 0;
  }

  #unsetContainer(): number {
    if (this.#container === null) return refuse("EINVAL");
    if (this.#users > 0) refuse("EBUSY");
    this.#container.detach(this.#group.device.dma);
    this.#container = null;
    return 0;
  }

  #openDevice(arg: Argument): number {
    const name = stringFromUser(arg);
    const { device } = this.#group;
    if (name !== device.name || device.faults.due("device-fd").length > 0) refuse("ENODEV");
    if (this.#container === null || !this.#container.hasIommu) refuse("EINVAL");
    device.open();
    this.hold();
    this.#users += 1;
    return this.#host.install(
      new DeviceFile(device, this.#host, () => {
        device.close();
        this.#users -= 1;
        this.drop();
      }),
    );
  }
}
