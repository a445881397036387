/**
 * A device's own file, whose device is a server's.
 */

import type { Mapping } from "../../kernel/kernel.ts";
import { libcKernel } from "../../kernel/libc/libc_kernel.ts";
import {
  VFIO_DEVICE_ATTACH_IOMMUFD_PT,
  VFIO_DEVICE_BIND_IOMMUFD,
  VFIO_DEVICE_DETACH_IOMMUFD_PT,
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FLAGS_CAPS,
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_DEVICE_RESET,
  VFIO_DEVICE_SET_IRQS,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_REGION_INFO_FLAG_MMAP,
  vfioDeviceAttachIommufdPt,
  vfioDeviceBindIommufd,
  vfioDeviceInfo,
  vfioIrqInfo,
  vfioIrqSet,
  vfioRegionInfo,
} from "../../uapi/mod.ts";
import { type Install, OpenFile } from "../../sim/os/open_file.ts";
import { refuse } from "../../sim/os/refusal.ts";
import { type Argument, bytesToUser, fromUser, toUser } from "../../sim/os/user.ts";
import type { ServerConnection } from "./connection.ts";
import type { DmaMappings } from "./dma_mappings.ts";
import { FeatureCalls } from "./feature_call.ts";
import { FileMapping } from "./file_mapping.ts";
import { IommufdFile } from "./iommufd_file.ts";
import type { OwnMemory } from "./own_memory.ts";
import { regionAt, RegionFiles, regionOffset } from "./region_files.ts";
import { RemoteDevice } from "./remote_device.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Size of struct vfio_device_info before it had capabilities. */
const INFO_LEAST = vfioDeviceInfo.offsetOf("cap_offset");
/** The most interrupts of one SET_IRQS. */
const IRQS_MAX = 4096;

/** What an open device works with. */
export interface DeviceFileParts {
  /** The path of its node. */
  readonly label: string;
  /** The connection to its server, which this file closes. */
  readonly connection: ServerConnection;
  /** The memory of this process. */
  readonly memory: OwnMemory;
  /** Gives a file an fd. */
  readonly install: Install;
  /** The file of an fd. */
  readonly fileOf: (fd: number) => OpenFile | undefined;
}

/** An open device. */
export class DeviceFile extends OpenFile {
  readonly label: string;
  /** The connection to its server. */
  readonly connection: ServerConnection;
  readonly #parts: DeviceFileParts;
  readonly #device: RemoteDevice;
  readonly #features: FeatureCalls;
  readonly #regions = new RegionFiles();
  #iommufd: IommufdFile | null = null;
  #space: DmaMappings | null = null;
  /** How the connection ends; decided by what becomes of the fd. */
  #ending: "with its socket" | "without its socket" = "with its socket";

  constructor(parts: DeviceFileParts) {
    super();
    this.label = parts.label;
    this.connection = parts.connection;
    this.#parts = parts;
    this.#device = new RemoteDevice(parts.connection);
    this.#features = new FeatureCalls(this.#device, parts.memory, parts.install);
  }

  /** Its socket's fd is another file's by now, and must not be closed. */
  loseFd(): void {
    this.#ending = "without its socket";
  }

  protected release(): void {
    this.#features.reset();
    this.#regions.close();
    this.#space?.detach(this.#device);
    this.#iommufd?.drop();
    this.connection.close(this.#ending);
  }

  /** The data of a pre-copy that another process handed over. */
  takeOverData(): OpenFile {
    return this.#features.takeOver();
  }

  /** Answers a command of the server's. */
  answer(command: number, payload: Bytes): readonly Uint8Array[] {
    return this.#space === null ? refuse("EFAULT") : this.#space.answer(command, payload);
  }

  ioctl(request: number, arg: Argument): number {
    switch (request) {
      case VFIO_DEVICE_GET_INFO:
        return this.#info(arg);
      case VFIO_DEVICE_GET_REGION_INFO:
        return this.#regionInfo(arg);
      case VFIO_DEVICE_GET_IRQ_INFO:
        return this.#irqInfo(arg);
      case VFIO_DEVICE_SET_IRQS:
        return this.#setIrqs(arg);
      case VFIO_DEVICE_RESET:
        this.#device.reset();
        this.#features.reset();
        return 0;
      case VFIO_DEVICE_FEATURE:
        return this.#features.call(arg);
      case VFIO_DEVICE_BIND_IOMMUFD:
        return this.#bind(arg);
      case VFIO_DEVICE_ATTACH_IOMMUFD_PT:
        return this.#attach(arg);
      case VFIO_DEVICE_DETACH_IOMMUFD_PT:
        this.#space?.detach(this.#device);
        this.#space = null;
        return 0;
      default:
        return refuse("ENOTTY");
    }
  }

  #info(arg: Argument): number {
    const { argsz } = fromUser(vfioDeviceInfo, arg, INFO_LEAST);
    if (argsz < INFO_LEAST) return refuse("EINVAL");
    const { flags, num_regions, num_irqs } = this.#device.info();
    const info = {
      argsz,
      // The protocol has no capabilities of a device.
      flags: (flags & ~VFIO_DEVICE_FLAGS_CAPS) >>> 0,
      num_regions,
      num_irqs,
      cap_offset: 0,
    };
    toUser(
      vfioDeviceInfo,
      arg,
      info,
      argsz >= vfioDeviceInfo.size ? vfioDeviceInfo.size : INFO_LEAST,
    );
    return 0;
  }

  #regionInfo(arg: Argument): number {
    const { argsz, index } = fromUser(vfioRegionInfo, arg);
    if (argsz < vfioRegionInfo.size) return refuse("EINVAL");
    const { info, fd } = this.#device.regionInfo(index, argsz);
    const answer = vfioRegionInfo.unpack(info);
    if (fd !== null) this.#regions.keep(index, { fd, offset: answer.offset });
    // The fd comes only with all of the answer; what was known of it holds.
    const mappable = this.#regions.of(index) !== null;
    const flags = mappable ? answer.flags : (answer.flags & ~VFIO_REGION_INFO_FLAG_MMAP) >>> 0;
    const head = { ...answer, flags, offset: regionOffset(index) };
    bytesToUser(arg, 0, info.subarray(0, argsz));
    toUser(vfioRegionInfo, arg, head);
    return 0;
  }

  #irqInfo(arg: Argument): number {
    const { argsz, index } = fromUser(vfioIrqInfo, arg);
    if (argsz < vfioIrqInfo.size) return refuse("EINVAL");
    const { flags, count } = this.#device.irqInfo(index);
    toUser(vfioIrqInfo, arg, { argsz, flags, index, count });
    return 0;
  }

  /** VFIO_DEVICE_SET_IRQS: eventfds go with the message, as many as the server takes in one. */
  #setIrqs(arg: Argument): number {
    const head = fromUser(vfioIrqSet, arg);
    const { argsz, flags, start, count } = head;
    if (typeof arg === "number" || argsz < vfioIrqSet.size || arg.length < argsz) {
      return refuse("EINVAL");
    }
    if (count > IRQS_MAX) return refuse("EINVAL");
    if ((flags & VFIO_IRQ_SET_DATA_EVENTFD) === 0) {
      this.#device.setIrqs(arg.slice(0, argsz), []);
      return 0;
    }
    if (argsz !== vfioIrqSet.size + 4 * count) return refuse("EINVAL");
    const fds = new DataView(arg.buffer, arg.byteOffset + vfioIrqSet.size, 4 * count);
    const most = Math.max(1, this.connection.server.maxMsgFds);
    for (let from = 0; from < count;) {
      const run = eventfds(fds, from, most);
      const set = { ...head, start: start + from, count: Math.abs(run.count), data: NO_DATA };
      this.#device.setIrqs(vfioIrqSet.pack({ ...set, argsz: vfioIrqSet.size }), run.fds);
      from += run.count;
    }
    return 0;
  }

  #bind(arg: Argument): number {
    if (this.#iommufd !== null) return refuse("EINVAL");
    const argument = fromUser(vfioDeviceBindIommufd, arg);
    const file = this.#parts.fileOf(argument.iommufd);
    if (!(file instanceof IommufdFile)) return refuse("EBADF");
    file.hold();
    this.#iommufd = file;
    toUser(vfioDeviceBindIommufd, arg, { ...argument, out_devid: file.takeId() });
    return 0;
  }

  #attach(arg: Argument): number {
    const argument = fromUser(vfioDeviceAttachIommufdPt, arg);
    if (this.#iommufd === null) return refuse("EINVAL");
    const space = this.#iommufd.space(argument.pt_id);
    space.attach(this.#device);
    this.#space = space;
    return 0;
  }

  override pread(at: number, into: Bytes): number {
    const { region, offset } = regionAt(at);
    return this.#device.readRegion(region, offset, into);
  }

  override pwrite(at: number, from: Bytes): number {
    const { region, offset } = regionAt(at);
    return this.#device.writeRegion(region, offset, from);
  }

  /** A part of a region that the server gave the file of. */
  mapRegion(at: number | bigint, length: number): Mapping {
    const { region, offset } = regionAt(at);
    const memory = this.#regions.of(region) ?? refuse("EINVAL");
    return new FileMapping(libcKernel(), memory.fd, memory.offset + BigInt(offset), length);
  }
}

const NO_DATA: Bytes = new Uint8Array(0);

/** The eventfds from `from` on that can go together: all of them fds, or all of them none. */
function eventfds(
  view: DataView,
  from: number,
  most: number,
): { readonly count: number; readonly fds: readonly number[] } {
  const at = (index: number): number => view.getInt32(4 * index, true);
  const total = view.byteLength / 4;
  const given = at(from) >= 0;
  const fds: number[] = [];
  let index = from;
  while (index < total && at(index) >= 0 === given && (!given || fds.length < most)) {
    if (given) fds.push(at(index));
    index += 1;
  }
  return { count: index - from, fds };
}
