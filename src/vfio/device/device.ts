/**
 * An open VFIO device: its regions, reset and identity.
 *
 * @module
 */

import { cleanly } from "../../base/cleanup.ts";
import { isErrno, SysError } from "../../kernel/sys_error.ts";
import { Fd } from "../../kernel/fd.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import {
  VFIO_DEVICE_FLAGS_PCI,
  VFIO_DEVICE_FLAGS_RESET,
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_RESET,
  VFIO_PCI_CONFIG_REGION_INDEX,
  vfioDeviceInfo,
} from "../../uapi/mod.ts";
import { ioctl } from "../ioctl.ts";
import type { AddressSpace } from "../dma/address_space.ts";
import { AnswerError } from "./answer_error.ts";
import { attach } from "./attach.ts";
import { ioctlArgsz } from "./argsz.ts";
import type { Type1Container } from "../dma/container.ts";
import { DriverNotes } from "../notes/driver_notes.ts";
import type { Group } from "../open/group.ts";
import { identityOf, readConfigIds, type VfioIdentity } from "../sysfs/identity.ts";
import type { Ioas } from "../dma/ioas.ts";
import { readRegion, type Region } from "./region.ts";
import type { PciIds, SysfsDevice } from "../sysfs/sysfs.ts";
import { sysfsOfFd } from "../sysfs/sysfs_of_fd.ts";
import type { Reason } from "../reasons/unsupported_error.ts";

/** More regions than any driver has: vfio-pci has 9, and one for each device-specific one. */
const REGIONS_MAX = 1024;

/**
 * How a device is opened: by its own character device and an iommufd (`cdev`), or by its group and
 * a container (`group`).
 */
export type OpenVia = "cdev" | "group";

/** The parts of a {@linkcode VfioDevice}. A part is null if it is unknown or not needed. */
export interface VfioDeviceParts {
  /** Its name in messages. */
  readonly label: string;
  /** The device's fd. */
  readonly fd: Fd;
  /** Its group. */
  readonly group: Group | null;
  /** Its container. */
  readonly container: Type1Container | null;
  /** The IOAS that it is attached to. */
  readonly ioas: Ioas | null;
  /** What it is bound to an iommufd as; left out if that is not known. */
  readonly binding?: { readonly id: number } | undefined;
  /** How it was opened. */
  readonly via: OpenVia | null;
  /** Why it was not opened by its own character device, where that was tried. */
  readonly whyNotCdev: Reason | null;
  /** What sysfs shows of it; null to find it by the fd. */
  readonly sysfs: SysfsDevice | null;
  /** What is closed after the device, in this order. */
  readonly closes: readonly Disposable[];
  /** Opens it once more in the same way; absent if others may depend on it staying open. */
  readonly openAgain?: (() => Fd) | undefined;
}

/**
 * An open VFIO device. Opened by `openVfioDevice`; a borrowed one (`fd:N`) is
 * never closed or reset unless {@linkcode VfioDevice.reset} is called.
 */
export class VfioDevice implements Disposable {
  /** The kernel it lives in. */
  readonly kernel: Kernel;
  /** What it is called: the name on its bus, or `fd:N`. */
  readonly label: string;
  /** Its fd. */
  readonly fd: Fd;
  /** Its group; null if it was not opened by it, or only the device's fd is known. */
  readonly group: Group | null;
  /** Its container; null if it has none, or only the device's fd is known. */
  readonly container: Type1Container | null;
  /** Its IOAS, with the iommufd that has it; null if it has none, or that is not known. */
  readonly ioas: Ioas | null;
  /** How it was opened; null if /proc does not show that for a borrowed device. */
  readonly via: OpenVia | null;
  /** Why it was opened by its group, if its character device was tried first; else null. */
  readonly whyNotCdev: Reason | null;
  /** What sysfs says of it; null if that is not known. */
  readonly sysfs: SysfsDevice | null;
  readonly #binding: { readonly id: number } | null;
  #borrowed: boolean;
  /** VFIO_DEVICE_FLAGS_*. */
  readonly flags: number;
  /** The highest region index + 1. */
  readonly numRegions: number;
  /** The rules that its driver was seen to break. */
  readonly notes: DriverNotes = new DriverNotes();
  readonly #closes: readonly Disposable[];
  #openAgain: (() => Fd) | null;
  readonly #regions = new Map<number, Region>();

  /**
   * Wraps an open device and reads VFIO_DEVICE_GET_INFO.
   *
   * @throws {SysError} If the ioctl fails: ENOTTY if the fd is something else.
   * @throws {AnswerError} If the answer cannot be true.
   */
  constructor(kernel: Kernel, parts: VfioDeviceParts) {
    const answer = ioctlArgsz(parts.fd, { VFIO_DEVICE_GET_INFO }, vfioDeviceInfo.pack({}));
    const { flags, num_regions } = vfioDeviceInfo.unpack(answer);
    if (num_regions > REGIONS_MAX) {
      throw new AnswerError(
        `Cannot use ${parts.label}: it says that it has ${num_regions} regions, ` +
          `more than ${REGIONS_MAX}`,
        `${vfioDeviceInfo.name}.num_regions`,
      );
    }
    this.kernel = kernel;
    this.label = parts.label;
    this.fd = parts.fd;
    this.group = parts.group;
    this.container = parts.container;
    this.ioas = parts.ioas;
    this.#binding = parts.binding ?? null;
    this.via = parts.via;
    this.whyNotCdev = parts.whyNotCdev;
    this.#borrowed = !parts.fd.owned;
    this.flags = flags;
    this.numRegions = num_regions;
    this.#closes = parts.closes;
    this.#openAgain = parts.openAgain ?? null;
    this.sysfs = parts.sysfs ??
      sysfsOfFd(kernel, parts.fd.number, parts.group?.number ?? null, this.configIds());
  }

  /** Whether another process or other code opened it, or keeps it open. */
  get borrowed(): boolean {
    return this.#borrowed;
  }

  /** Marks that another process keeps it open, with its state, whether or not it is closed here. */
  borrow(): void {
    this.#borrowed = true;
    this.share();
  }

  /** The address space of its DMA; null if only the device's fd is known. */
  get space(): AddressSpace | null {
    return this.container ?? this.ioas;
  }

  /** Its id in its iommufd; null if it was not bound here. */
  get iommufdId(): number | null {
    return this.#binding?.id ?? null;
  }

  /**
   * Attaches it to an IOAS or a page table of its iommufd, in place of what it was attached to
   * (VFIO_DEVICE_ATTACH_IOMMUFD_PT).
   *
   * @param id The id of the IOAS or page table.
   * @throws {SysError} If the kernel refuses: EINVAL if the device cannot use the page table.
   */
  attach(id: number): void {
    attach(this.fd, id);
  }

  /** Whether the driver says that it can be reset. */
  get resettable(): boolean {
    return (this.flags & VFIO_DEVICE_FLAGS_RESET) !== 0;
  }

  /**
   * Describes a region; read once, then remembered.
   *
   * @throws {RangeError} If there is no such index.
   * @throws {SysError} If the ioctl fails: EINVAL if this device leaves the index out.
   * @throws {AnswerError} If the answer cannot be true; {@linkcode CapabilityError} for capabilities.
   */
  region(index: number): Region {
    if (!Number.isInteger(index) || index < 0 || index >= this.numRegions) {
      throw new RangeError(
        `Cannot describe region ${index} of ${this.label}: it has ${this.numRegions} regions`,
      );
    }
    const known = this.#regions.get(index);
    if (known !== undefined) return known;
    const region = readRegion(this.fd, index);
    this.#regions.set(index, region);
    return region;
  }

  /**
   * All regions of the device. Indexes that the driver leaves out (EINVAL, as vfio-pci does for
   * VGA) are left out here.
   *
   * @throws {AnswerError} If the answer for one of them cannot be true.
   */
  regions(): Region[] {
    const regions: Region[] = [];
    for (let index = 0; index < this.numRegions; index++) {
      const region = this.regionOrNull(index);
      if (region !== null) regions.push(region);
    }
    return regions;
  }

  /**
   * The first region with this type capability. If one is found, a broken answer for another
   * region is only noted.
   *
   * @param type VFIO_REGION_TYPE_*.
   * @returns null if the device has none.
   * @throws {AnswerError} If none was found, but one could not be read.
   */
  findRegion(type: number, subtype: number): Region | null {
    let broken: AnswerError | null = null;
    for (let index = 0; index < this.numRegions; index++) {
      try {
        const region = this.regionOrNull(index);
        if (region?.type?.type !== type || region.type.subtype !== subtype) continue;
        if (broken !== null) this.#noteBroken(broken);
        return region;
      } catch (error) {
        if (!(error instanceof AnswerError)) throw error;
        broken ??= error;
      }
    }
    if (broken !== null) throw broken;
    return null;
  }

  #noteBroken({ message }: AnswerError): void {
    this.notes.add("region-broken", () => message);
  }

  /** As {@linkcode VfioDevice.region}; null if the device leaves the index out (EINVAL). */
  regionOrNull(index: number): Region | null {
    try {
      return this.region(index);
    } catch (error) {
      if (isErrno(error, "EINVAL")) return null;
      throw error;
    }
  }

  /**
   * Resets the device (VFIO_DEVICE_RESET).
   *
   * @throws {SysError} If the driver refuses: EINVAL or ENOTTY if it cannot.
   */
  reset(): void {
    ioctl(this.fd, { VFIO_DEVICE_RESET });
  }

  /**
   * Whether it can be closed and opened again: it was opened here, no other device shares its group
   * or iommufd, and no memory is known to be mapped there.
   */
  get reopenable(): boolean {
    return this.#openAgain !== null && (this.space?.mappings.length ?? 0) === 0;
  }

  /** Marks that another device shares its group or iommufd, so that it must stay open. */
  share(): void {
    this.#openAgain = null;
  }

  /**
   * Closes the device and opens it again, under the same fd number; its group, container and IOAS
   * stay open. A driver drops a device's state at the last close; read the state to see if it did.
   *
   * @throws {TypeError} If it is not {@linkcode VfioDevice.reopenable}.
   * @throws {SysError} If it cannot be opened again; its fd is then no longer a device.
   */
  reopen(): void {
    if (this.#openAgain === null || !this.reopenable) {
      throw new TypeError(`Cannot open ${this.label} again: others may use it`);
    }
    const { kernel, fd: { number } } = this;
    const openAgain = this.#openAgain;
    cleanly(() => {
      // Keep the number taken: another thread that opens a file must not get it.
      using placeholder = Fd.own(kernel, kernel.memfd("vfiokit", 0), `instead of ${this.label}`);
      kernel.dup3(placeholder.number, number);
      using opened = openAgain();
      kernel.dup3(opened.number, number);
    });
  }

  /**
   * What the device is. PCI ids come from sysfs; if it has none (a bare fd,
   * an mdev) from the device's configuration region.
   */
  identity(): VfioIdentity {
    return identityOf(this.sysfs, this.flags, this.sysfs?.ids ?? this.configIds());
  }

  /** The PCI ids in the configuration region; null if the device has none. */
  configIds(): PciIds | null {
    const index = VFIO_PCI_CONFIG_REGION_INDEX;
    if ((this.flags & VFIO_DEVICE_FLAGS_PCI) === 0 || index >= this.numRegions) return null;
    try {
      return readConfigIds(this.kernel, this.fd, this.region(index));
    } catch (error) {
      if (error instanceof SysError || error instanceof AnswerError) return null;
      throw error;
    }
  }

  /** Closes what was opened with it, the device first; what is borrowed stays open. */
  close(): void {
    // Close all of them, even if one fails. A stack closes in reverse order.
    cleanly(() => {
      using closing = new DisposableStack();
      for (const part of [...this.#closes].reverse()) closing.use(part);
      this.fd.close();
    });
  }

  /** Closes, at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.close();
  }
}
