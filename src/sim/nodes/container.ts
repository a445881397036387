/**
 * An open VFIO container: /dev/vfio/vfio.
 */

import {
  VFIO_API_VERSION,
  VFIO_CHECK_EXTENSION,
  VFIO_DMA_CC_IOMMU,
  VFIO_GET_API_VERSION,
  VFIO_SET_IOMMU,
  VFIO_TYPE1_IOMMU,
  VFIO_TYPE1_NESTING_IOMMU,
  VFIO_TYPE1v2_IOMMU,
  VFIO_UNMAP_ALL,
} from "../../uapi/mod.ts";
import type { IommuDriver } from "../iommu/iommu.ts";
import type { IommuMember } from "../iommu/iommu_member.ts";
import { OpenFile } from "../os/open_file.ts";
import { refuse } from "../os/refusal.ts";
import { Type1 } from "../iommu/type1.ts";
import { type Argument, numberOf } from "../os/user.ts";
import type { UserMemory } from "../os/user_memory.ts";

/** A container. It outlives its fd as long as a group is in it. */
export class ContainerFile extends OpenFile {
  readonly label = "/dev/vfio/vfio";
  readonly #driver: IommuDriver;
  readonly #user: UserMemory;
  readonly #groups: Set<IommuMember> = new Set();
  #iommu: Type1 | null = null;

  constructor(driver: IommuDriver, user: UserMemory) {
    super();
    this.#driver = driver;
    this.#user = user;
  }

  protected release(): void {
    // Memory only: the garbage collector frees it.
  }

  /** Whether an IOMMU was set. */
  get hasIommu(): boolean {
    return this.#iommu !== null;
  }

  /** Fails with EPERM if a device's interrupts could reach any target. */
  #checkInterrupts({ hardware }: IommuMember): void {
    if (hardware && !this.#driver.remapsInterrupts) refuse("EPERM");
  }

  /** Adds a group. */
  attach(group: IommuMember): void {
    if (this.#iommu !== null) this.#checkInterrupts(group);
    this.#iommu?.attach(group);
    this.#groups.add(group);
    this.hold();
  }

  /** Removes a group. Removing the last one removes the IOMMU and every mapping. */
  detach(group: IommuMember): void {
    this.#iommu?.detach(group);
    this.#groups.delete(group);
    if (this.#groups.size === 0) this.#iommu = null;
    this.drop();
  }

  ioctl(request: number, arg: Argument): number {
    switch (request) {
      case VFIO_GET_API_VERSION:
        return VFIO_API_VERSION;
      case VFIO_CHECK_EXTENSION:
        return this.#has(numberOf(arg)) ? 1 : 0;
      case VFIO_SET_IOMMU:
        return this.#setIommu(numberOf(arg));
      default:
        return this.#iommu === null ? refuse("EINVAL") : this.#iommu.ioctl(request, arg);
    }
  }

  #has(extension: number): boolean {
    switch (extension) {
      case VFIO_TYPE1_IOMMU:
      case VFIO_UNMAP_ALL:
        return true;
      case VFIO_TYPE1v2_IOMMU:
      case VFIO_TYPE1_NESTING_IOMMU:
        return this.#driver.v2;
      case VFIO_DMA_CC_IOMMU:
        // Known once there is an IOMMU; without hardware, all DMA is coherent.
        return this.#iommu !== null;
      default:
        // This includes VFIO_UPDATE_VADDR, which mediated devices rule out.
        return false;
    }
  }

  #setIommu(type: number): number {
    if (this.#groups.size === 0 || this.#iommu !== null) refuse("EINVAL");
    if (!this.#has(type)) refuse("ENODEV");
    const v2 = type === VFIO_TYPE1v2_IOMMU || type === VFIO_TYPE1_NESTING_IOMMU;
    // An extension that is not a type of IOMMU.
    if (type !== VFIO_TYPE1_IOMMU && !v2) refuse("EINVAL");
    const { refusesIommu } = this.#driver;
    if (refusesIommu !== null) refuse(refusesIommu);
    for (const group of this.#groups) this.#checkInterrupts(group);
    this.#iommu = new Type1(v2, this.#driver, this.#user);
    for (const group of this.#groups) this.#iommu.attach(group);
    return 0;
  }
}
