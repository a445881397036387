/**
 * An open iommufd: /dev/iommu. Linux can also use it as a container for groups;
 * the simulation does not have that.
 */

import type { ErrnoName } from "../../kernel/errno_names.ts";
import {
  IOMMU_DESTROY,
  IOMMU_IOAS_ALLOC,
  IOMMU_IOAS_IOVA_RANGES,
  IOMMU_IOAS_MAP,
  IOMMU_IOAS_MAP_FIXED_IOVA,
  IOMMU_IOAS_MAP_READABLE,
  IOMMU_IOAS_MAP_WRITEABLE,
  IOMMU_IOAS_UNMAP,
  iommuDestroy,
  iommuIoasAlloc,
  iommuIoasIovaRanges,
  iommuIoasMap,
  iommuIoasUnmap,
  iommuIovaRange,
} from "../../uapi/mod.ts";
import type { IommuMember } from "../iommu/iommu_member.ts";
import { bound, IoasObject } from "../iommu/ioas.ts";
import { OpenFile } from "../os/open_file.ts";
import { refuse } from "../os/refusal.ts";
import { type Argument, bytesToUser, sizedFromUser } from "../os/user.ts";
import type { UserMemory } from "../os/user_memory.ts";

const ULONG_MAX = (1n << 64n) - 1n;
const ACCESS = IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE;

/** A device that is bound to an iommufd. */
class BoundDevice {
  readonly member: IommuMember;
  /** The IOAS that it is attached to. */
  ioas: IoasObject | null = null;

  constructor(member: IommuMember) {
    this.member = member;
  }
}

/** The IOMMU's page table of an IOAS; it exists while devices with hardware are attached. */
class PageTable {
  readonly ioas: IoasObject;
  /** The number of devices attached to it. */
  users = 0;

  constructor(ioas: IoasObject) {
    this.ioas = ioas;
  }
}

type IommufdObject = IoasObject | BoundDevice | PageTable;

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
    const ioas = target instanceof PageTable ? target.ioas : target;
    if (ioas !== device.ioas) ioas.admit(member);
    const own = member.hardware ? this.#table(ioas) : null;
    if (ioas !== device.ioas) {
      if (own !== null) own.users += 1;
      this.detach(id);
      ioas.attach(member);
      device.ioas = ioas;
    }
    return own === null ? table : this.#idOf(own);
  }

  /** Detaches a device, if it is attached. */
  detach(id: number): void {
    const device = this.#device(id);
    const { member, ioas } = device;
    if (ioas === null) return;
    ioas.detach(member);
    device.ioas = null;
    if (!member.hardware) return;
    const table = this.#table(ioas);
    table.users -= 1;
    if (table.users === 0) this.#objects.delete(this.#idOf(table));
  }

  #table(ioas: IoasObject): PageTable {
    for (const object of this.#objects.values()) {
      if (object instanceof PageTable && object.ioas === ioas) return object;
    }
    const table = new PageTable(ioas);
    this.#add(table);
    return table;
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
      default:
        return refuse("ENOTTY");
    }
  }

  #destroy(arg: Argument): number {
    const { id } = sizedFromUser(iommuDestroy, arg);
    const object = this.#objects.get(id) ?? refuse("ENOENT");
    // A bound device is held by its driver, a page table by its devices.
    if (!(object instanceof IoasObject) || object.inUse) refuse("EBUSY");
    this.#objects.delete(id);
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
