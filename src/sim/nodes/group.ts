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
} from "../../uapi/mod.ts";
import { ContainerFile } from "./container.ts";
import type { DeviceModel } from "../device/device_model.ts";
import { DeviceFile, type DeviceHost } from "../device/device_file.ts";
import { OpenFile } from "../os/open_file.ts";
import { refuse } from "../os/refusal.ts";
import { type Argument, fromUser, intFromUser, stringFromUser, toUser } from "../os/user.ts";

/** What an open group needs from the kernel. */
export interface GroupHost extends DeviceHost {
  /** The file behind an fd; fails with EBADF if there is none. */
  file(fd: number): OpenFile;
}

/** A group with one device. */
export class SimGroup {
  /** Its number. */
  readonly number: number;
  /** The device in it. */
  readonly device: DeviceModel;
  /** Whether the kernel shows the group. If not, it only holds a device that has no group. */
  readonly listed: boolean;
  #opened = false;
  /** The number of its devices that are bound by their own nodes. */
  #bound = 0;

  constructor(number: number, device: DeviceModel, listed: boolean) {
    this.number = number;
    this.device = device;
    this.listed = listed;
  }

  /** Whether no device of the group is bound to a host driver. */
  get viable(): boolean {
    const { faults } = this.device;
    return (["group-not-viable", "isa-bridge"] as const).every((name) =>
      faults.standing(name) === undefined
    );
  }

  /** Fails with EPERM or EINVAL if the group's DMA cannot be claimed, as in Linux 6.12. */
  claim(): void {
    // A host driver owns the group's DMA.
    if (!this.viable) refuse("EPERM");
    // Blocking the group's DMA would take the firmware's memory away from the device.
    if (this.device.faults.standing("firmware-region") !== undefined) refuse("EINVAL");
  }

  /** Opens the group. It can be open only once at a time. */
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

  /** Opens the node of its device, any number of times. */
  openCdev(open: () => OpenFile): OpenFile {
    this.#refuseOpening();
    this.device.checkPresent();
    return open();
  }

  /** A device is bound by its own node: until it is unbound, the group cannot be opened. */
  block(): void {
    this.#refuseTwo();
    this.#bound += 1;
  }

  /** A device is unbound. */
  unblock(): void {
    this.#bound -= 1;
  }
}

/** An open group. The files of its devices hold the group and its container open. */
export class GroupFile extends OpenFile {
  readonly label: string;
  readonly #group: SimGroup;
  readonly #host: GroupHost;
  readonly #closed: () => void;
  #container: ContainerFile | null = null;
  /** The number of device files that use the container. */
  #users = 0;

  constructor(group: SimGroup, host: GroupHost, closed: () => void) {
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

  #strike(name: "group-status" | "set-container" | "device-fd"): void {
    const fault = this.#group.device.faults.standing(name);
    if (fault !== undefined) refuse(fault.errno);
  }

  #status(arg: Argument): number {
    const { argsz } = fromUser(vfioGroupStatus, arg);
    if (argsz < vfioGroupStatus.size) refuse("EINVAL");
    this.#strike("group-status");
    const set = this.#container === null ? 0 : VFIO_GROUP_FLAGS_CONTAINER_SET;
    const viable = this.#group.viable ? VFIO_GROUP_FLAGS_VIABLE : 0;
    toUser(vfioGroupStatus, arg, { argsz, flags: set | viable });
    return 0;
  }

  #setContainer(arg: Argument): number {
    const container = this.#host.file(intFromUser(arg));
    if (this.#container !== null) refuse("EINVAL");
    if (!(container instanceof ContainerFile)) return refuse("EINVAL");
    this.#strike("set-container");
    this.#group.claim();
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
    this.#strike("device-fd");
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
