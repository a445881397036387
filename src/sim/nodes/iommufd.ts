/**
 * An open iommufd: /dev/iommu. Linux can also use it as a container for groups;
 * the simulation does not have that.
 */

import type { ErrnoName } from "../../kernel/errno_names.ts";
import {
  IOMMU_DESTROY,
  IOMMU_GET_HW_INFO,
  IOMMU_HW_CAP_DIRTY_TRACKING,
  IOMMU_HWPT_ALLOC,
  IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
  IOMMU_HWPT_DIRTY_TRACKING_ENABLE,
  IOMMU_HWPT_GET_DIRTY_BITMAP,
  IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR,
  IOMMU_HWPT_SET_DIRTY_TRACKING,
  IOMMU_IOAS_ALLOC,
  IOMMU_IOAS_IOVA_RANGES,
  IOMMU_IOAS_MAP,
  IOMMU_IOAS_MAP_FIXED_IOVA,
  IOMMU_IOAS_MAP_READABLE,
  IOMMU_IOAS_MAP_WRITEABLE,
  IOMMU_IOAS_UNMAP,
  iommuDestroy,
  iommuHwInfo,
  iommuHwptAlloc,
  iommuHwptGetDirtyBitmap,
  iommuHwptSetDirtyTracking,
  iommuIoasAlloc,
  iommuIoasIovaRanges,
  iommuIoasMap,
  iommuIoasUnmap,
  iommuIovaRange,
} from "../../uapi/mod.ts";
import type { IommuMember } from "../iommu/iommu_member.ts";
import { bound, IoasObject } from "../iommu/ioas.ts";
import { PageTable } from "../iommu/page_table.ts";
import { OpenFile } from "../os/open_file.ts";
import { refuse } from "../os/refusal.ts";
import { type Argument, bytesToUser, sizedFromUser, toUser } from "../os/user.ts";
import type { UserMemory } from "../os/user_memory.ts";

const ULONG_MAX = (1n << 64n) - 1n;
const ACCESS = IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE;
/** Bytes of struct iommu_hwpt_alloc, and of iommu_hw_info, that there must be. */
const LEAST_HWPT_ALLOC = 24;
const LEAST_HW_INFO = 32;

/** A device that is bound to an iommufd. */
class BoundDevice {
  readonly member: IommuMember;
  /** The IOAS that it is attached to. */
  ioas: IoasObject | null = null;
  /** The page table that it is attached to; null without hardware. */
  table: HwptObject | null = null;

  constructor(member: IommuMember) {
    this.member = member;
  }
}

/** A page table of an IOAS. */
class HwptObject {
  readonly ioas: IoasObject;
  readonly table: PageTable;

  constructor(ioas: IoasObject, table: PageTable) {
    this.ioas = ioas;
    this.table = table;
    ioas.addTable(table);
  }
}

type IommufdObject = IoasObject | BoundDevice | HwptObject;

/** An open iommufd; the devices bound to it hold it open. */
export class IommufdFile extends OpenFile {
  readonly label = "/dev/iommu";
  readonly #user: UserMemory;
  readonly #memlock: bigint | null;
  /** The errno of IOMMU_IOAS_ALLOC; null if it succeeds. */
  readonly #refusesIoas: ErrnoName | null;
  readonly #objects: Map<number, IommufdObject> = new Map();

  constructor(user: UserMemory, memlock: bigint | null, refusesIoas: ErrnoName | null) {
    super();
    this.#user = user;
    this.#memlock = memlock;
    this.#refusesIoas = refusesIoas;
  }

  protected release(): void {
    this.#objects.clear();
  }

  /** Adds an object; returns its id, the lowest free number. */
  #add(object: IommufdObject): number {
    let id = 1;
    while (this.#objects.has(id)) id += 1;
    this.#objects.set(id, object);
    return id;
  }

  #ioas(id: number): IoasObject {
    const object = this.#objects.get(id);
    return object instanceof IoasObject ? object : refuse("ENOENT");
  }

  #device(id: number): BoundDevice {
    return this.#objects.get(id) as BoundDevice;
  }

  /** Binds a device; returns its id. */
  bind(member: IommuMember): number {
    this.hold();
    bound(member);
    return this.#add(new BoundDevice(member));
  }

  /** Unbinds a device. */
  unbind(id: number): void {
    const { member } = this.#device(id);
    this.detach(id);
    member.reach(null);
    this.#objects.delete(id);
    this.drop();
  }

  /** Attaches a device, replacing a previous attachment; returns the page table's id. */
  attach(id: number, table: number): number {
    const device = this.#device(id);
    const { member } = device;
    // Without hardware there are no page tables.
    const found = member.hardware ? this.#objects.get(table) ?? refuse("ENOENT") : null;
    const target = found ?? this.#ioas(table);
    if (target instanceof BoundDevice) return refuse("EINVAL");
    const ioas = target instanceof HwptObject ? target.ioas : target;
    if (ioas !== device.ioas) ioas.admit();
    const hwpt = target instanceof HwptObject
      ? target
      : member.hardware
      ? this.#autoTable(ioas)
      : null;
    if (hwpt?.table.tracks === true && !member.tracks) refuse("EINVAL");
    if (ioas !== device.ioas || hwpt !== device.table) {
      if (hwpt !== null) hwpt.table.users += 1;
      this.detach(id);
      ioas.attach(member, hwpt?.table ?? null);
      device.ioas = ioas;
      device.table = hwpt;
    }
    return hwpt === null ? table : this.#idOf(hwpt);
  }

  /** Detaches a device, if it is attached. */
  detach(id: number): void {
    const device = this.#device(id);
    const { member, ioas, table: hwpt } = device;
    if (ioas === null) return;
    ioas.detach(member);
    device.ioas = null;
    device.table = null;
    if (hwpt === null) return;
    hwpt.table.users -= 1;
    if (hwpt.table.users === 0 && hwpt.table.auto) this.#remove(hwpt);
  }

  #remove(hwpt: HwptObject): void {
    hwpt.ioas.removeTable(hwpt.table);
    this.#objects.delete(this.#idOf(hwpt));
  }

  /** The page table that the kernel makes for the devices attached to an IOAS. */
  #autoTable(ioas: IoasObject): HwptObject {
    for (const object of this.#objects.values()) {
      if (object instanceof HwptObject && object.ioas === ioas && object.table.auto) return object;
    }
    const hwpt = new HwptObject(ioas, new PageTable(true, false));
    this.#add(hwpt);
    return hwpt;
  }

  #idOf(wanted: IommufdObject): number {
    return [...this.#objects].find(([, object]) => object === wanted)![0];
  }

  ioctl(request: number, arg: Argument): number {
    for (const object of this.#objects.values()) {
      if (object instanceof IoasObject) object.elapse();
    }
    switch (request) {
      case IOMMU_DESTROY:
        return this.#destroy(arg);
      case IOMMU_IOAS_ALLOC:
        return this.#allocate(arg);
      case IOMMU_IOAS_IOVA_RANGES:
        return this.#ranges(arg);
      case IOMMU_IOAS_MAP:
        return this.#map(arg);
      case IOMMU_IOAS_UNMAP:
        return this.#unmap(arg);
      case IOMMU_GET_HW_INFO:
        return this.#hwInfo(arg);
      case IOMMU_HWPT_ALLOC:
        return this.#allocateTable(arg);
      case IOMMU_HWPT_SET_DIRTY_TRACKING:
        return this.#setTracking(arg);
      case IOMMU_HWPT_GET_DIRTY_BITMAP:
        return this.#readDirty(arg);
      default:
        return refuse("ENOTTY");
    }
  }

  #destroy(arg: Argument): number {
    const { id } = sizedFromUser(iommuDestroy, arg);
    const object = this.#objects.get(id) ?? refuse("ENOENT");
    // A bound device is held by its driver, a page table by its devices, an IOAS by both.
    if (object instanceof BoundDevice) return refuse("EBUSY");
    if (object instanceof HwptObject) {
      if (object.table.users > 0) refuse("EBUSY");
      this.#remove(object);
      return 0;
    }
    if (object.inUse) refuse("EBUSY");
    this.#objects.delete(id);
    return 0;
  }

  /** A bound device that is behind IOMMU hardware; the kernel knows no other by its id. */
  #behindHardware(id: number): BoundDevice {
    const object = this.#objects.get(id);
    if (!(object instanceof BoundDevice) || !object.member.hardware) return refuse("ENOENT");
    return object;
  }

  #hwInfo(arg: Argument): number {
    const command = sizedFromUser(iommuHwInfo, arg, LEAST_HW_INFO);
    if (command.flags !== 0 || command.__reserved.some((byte) => byte !== 0)) refuse("EOPNOTSUPP");
    const { member } = this.#behindHardware(command.dev_id);
    // There is no more to say of this hardware: the memory for it is cleared.
    if (command.data_len > 0) this.#user.write(command.data_uptr, new Uint8Array(command.data_len));
    const answer = {
      ...command,
      data_len: 0,
      out_capabilities: BigInt(member.tracks ? IOMMU_HW_CAP_DIRTY_TRACKING : 0),
    };
    toUser(iommuHwInfo, arg, answer, Math.min(command.size, iommuHwInfo.size));
    return 0;
  }

  #allocateTable(arg: Argument): number {
    const command = sizedFromUser(iommuHwptAlloc, arg, LEAST_HWPT_ALLOC);
    const { flags, data_type, data_len } = command;
    if (command.__reserved !== 0) refuse("EOPNOTSUPP");
    if ((data_type === 0) !== (data_len === 0)) refuse("EINVAL");
    const { member } = this.#behindHardware(command.dev_id);
    const parent = this.#objects.get(command.pt_id);
    // A page table could be nested only in one that was allocated for it.
    if (parent instanceof HwptObject) return refuse("EOPNOTSUPP");
    if (!(parent instanceof IoasObject)) return refuse("EINVAL");
    const tracks = (flags & IOMMU_HWPT_ALLOC_DIRTY_TRACKING) !== 0;
    const unknown = flags & ~IOMMU_HWPT_ALLOC_DIRTY_TRACKING;
    if (unknown !== 0 || data_len > 0 || (tracks && !member.tracks)) refuse("EOPNOTSUPP");
    const id = this.#add(new HwptObject(parent, new PageTable(false, tracks)));
    const answer = { ...command, out_hwpt_id: id };
    toUser(iommuHwptAlloc, arg, answer, Math.min(command.size, iommuHwptAlloc.size));
    return 0;
  }

  #hwpt(id: number): HwptObject {
    const object = this.#objects.get(id);
    return object instanceof HwptObject ? object : refuse("ENOENT");
  }

  #setTracking(arg: Argument): number {
    const { flags, hwpt_id } = sizedFromUser(iommuHwptSetDirtyTracking, arg);
    if ((flags & ~IOMMU_HWPT_DIRTY_TRACKING_ENABLE) !== 0) refuse("EOPNOTSUPP");
    this.#hwpt(hwpt_id).table.setTracking((flags & IOMMU_HWPT_DIRTY_TRACKING_ENABLE) !== 0);
    return 0;
  }

  #readDirty(arg: Argument): number {
    const command = sizedFromUser(iommuHwptGetDirtyBitmap, arg);
    const { flags, hwpt_id } = command;
    const unknown = flags & ~IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR;
    if (unknown !== 0 || command.__reserved !== 0) refuse("EOPNOTSUPP");
    const { ioas, table } = this.#hwpt(hwpt_id);
    ioas.readDirty(table, command, (flags & IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR) === 0);
    return 0;
  }

  #allocate(arg: Argument): number {
    const command = sizedFromUser(iommuIoasAlloc, arg);
    if (command.flags !== 0) refuse("EOPNOTSUPP");
    if (this.#refusesIoas !== null) refuse(this.#refusesIoas);
    const id = this.#add(new IoasObject(this.#user, this.#memlock));
    bytesToUser(arg, 0, iommuIoasAlloc.pack({ ...command, out_ioas_id: id }));
    return 0;
  }

  #ranges(arg: Argument): number {
    const command = sizedFromUser(iommuIoasIovaRanges, arg);
    if (command.__reserved !== 0) refuse("EOPNOTSUPP");
    const { alignment, ranges } = this.#ioas(command.ioas_id);
    ranges.slice(0, command.num_iovas).forEach(({ start, end }, index) => {
      const bytes = iommuIovaRange.pack({ start, last: end });
      this.#user.write(command.allowed_iovas + BigInt(index * bytes.length), bytes);
    });
    const answer = { ...command, num_iovas: ranges.length, out_iova_alignment: alignment };
    bytesToUser(arg, 0, iommuIoasIovaRanges.pack(answer));
    return ranges.length > command.num_iovas ? refuse("EMSGSIZE") : 0;
  }

  #map(arg: Argument): number {
    const command = sizedFromUser(iommuIoasMap, arg);
    const unknown = command.flags & ~(IOMMU_IOAS_MAP_FIXED_IOVA | ACCESS);
    if (unknown !== 0 || command.__reserved !== 0) refuse("EOPNOTSUPP");
    if (command.iova >= ULONG_MAX || command.length >= ULONG_MAX) refuse("EOVERFLOW");
    if ((command.flags & ACCESS) === 0) refuse("EINVAL");
    const iova = this.#ioas(command.ioas_id).map(command);
    bytesToUser(arg, 0, iommuIoasMap.pack({ ...command, iova }));
    return 0;
  }

  #unmap(arg: Argument): number {
    const command = sizedFromUser(iommuIoasUnmap, arg);
    const length = this.#ioas(command.ioas_id).unmap(command.iova, command.length);
    bytesToUser(arg, 0, iommuIoasUnmap.pack({ ...command, length }));
    return 0;
  }
}
