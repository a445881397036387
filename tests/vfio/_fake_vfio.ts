/**
 * A fake VFIO with a PCI function in group 12, and knobs for what goes wrong.
 */

import type { ErrnoName } from "../../src/kernel/errno_names.ts";
import * as uapi from "../../src/uapi/mod.ts";
import { fail, type FakeFile, FakeKernel } from "./_fake_kernel.ts";

type Buffer = Uint8Array<ArrayBuffer>;

/** The function's address. */
export const ADDRESS = "0000:3b:00.1";
/** Its group's node. */
export const GROUP_PATH = "/dev/vfio/12";
/** Its folder in sysfs. */
export const FOLDER = "/sys/devices/pci0000:3a/0000:3b:00.1";

/** A region as the fake driver describes it. */
export interface FakeRegion {
  readonly flags?: number;
  readonly size?: bigint;
  readonly offset?: bigint;
  /** What follows the struct; its first capability is at offset 32. */
  readonly capabilities?: Buffer;
}

/** What the fake does. */
export interface FakeVfio {
  readonly apiVersion?: number;
  readonly type1v2?: boolean;
  readonly groupFlags?: number;
  readonly deviceFlags?: number;
  readonly regions?: Readonly<Record<number, FakeRegion | ErrnoName>>;
  readonly numRegions?: number;
  /** What follows struct vfio_iommu_type1_info; its first capability is at offset 24. */
  readonly iommuCapabilities?: Buffer;
  /** Requests that fail. */
  readonly failing?: ReadonlyMap<number, ErrnoName>;
  /** VFIO_MIGRATION_* flags; undefined where it does not speak v2. */
  readonly v2Flags?: number;
  /** Features that are answered by this errno; all others but MIGRATION by ENOTTY. */
  readonly features?: ReadonlyMap<number, ErrnoName>;
  /** Names of the devices in the group. */
  readonly devices?: readonly string[];
  readonly config?: Buffer;
}

/** A capability, header and all. */
export function capability(id: number, next: number, body: readonly number[] = []): Buffer {
  const bytes = new Uint8Array(new ArrayBuffer(8 + body.length * 4));
  uapi.vfioInfoCapHeader.pack({ id, version: 1, next }, bytes);
  const view = new DataView(bytes.buffer);
  body.forEach((value, index) => view.setUint32(8 + index * 4, value, true));
  return bytes;
}

/** Capabilities one behind the other. */
export function join(...parts: readonly Buffer[]): Buffer {
  const bytes = new Uint8Array(new ArrayBuffer(parts.reduce((sum, part) => sum + part.length, 0)));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** The capability of a v1 migration region, alone. */
export const MIGRATION_CAPABILITY: Buffer = capability(uapi.VFIO_REGION_INFO_CAP_TYPE, 0, [
  uapi.VFIO_REGION_TYPE_MIGRATION_DEPRECATED,
  uapi.VFIO_REGION_SUBTYPE_MIGRATION_DEPRECATED,
]);

/** A v1 migration region, trapped. */
export const MIGRATION_REGION: FakeRegion = {
  flags: uapi.VFIO_REGION_INFO_FLAG_READ | uapi.VFIO_REGION_INFO_FLAG_WRITE,
  size: 0x10000n,
  offset: 9n << 40n,
  capabilities: MIGRATION_CAPABILITY,
};

/** Answers an info ioctl as the kernel does: capabilities only where they fit. */
export function answerInfo(
  arg: Buffer,
  struct: Buffer,
  capabilities: Buffer | undefined,
  flagsOffset: number,
  capsFlag: number,
  capOffset: number,
): number {
  const view = new DataView(arg.buffer, arg.byteOffset);
  const room = view.getUint32(0, true);
  if (room < struct.length) return fail("EINVAL");
  arg.set(struct);
  if (capabilities === undefined) {
    view.setUint32(0, room, true);
    return 0;
  }
  view.setUint32(flagsOffset, view.getUint32(flagsOffset, true) | capsFlag, true);
  const needed = struct.length + capabilities.length;
  view.setUint32(0, Math.max(room, needed), true);
  view.setUint32(capOffset, room < needed ? 0 : struct.length, true);
  if (room >= needed) arg.set(capabilities, struct.length);
  return 0;
}

function answerFeature({ v2Flags, features }: FakeVfio, arg: Buffer): number {
  const { flags } = uapi.vfioDeviceFeature.unpack(arg);
  const number = flags & uapi.VFIO_DEVICE_FEATURE_MASK;
  const errno = features?.get(number);
  if (errno !== undefined) return fail(errno);
  if (number !== uapi.VFIO_DEVICE_FEATURE_MIGRATION || v2Flags === undefined) return fail("ENOTTY");
  if ((flags & uapi.VFIO_DEVICE_FEATURE_PROBE) !== 0) return 0;
  uapi.vfioDeviceFeatureMigration.pack({ flags: BigInt(v2Flags) }, arg, 8);
  return 0;
}

/** A device file. */
export function fakeDevice(fake: FakeVfio = {}): FakeFile {
  const regions = fake.regions ?? { 9: MIGRATION_REGION };
  return {
    ioctl(request, arg): number {
      const errno = fake.failing?.get(request);
      if (errno !== undefined) return fail(errno);
      switch (request) {
        case uapi.VFIO_DEVICE_GET_INFO:
          uapi.vfioDeviceInfo.pack({
            flags: fake.deviceFlags ?? uapi.VFIO_DEVICE_FLAGS_PCI | uapi.VFIO_DEVICE_FLAGS_RESET,
            num_regions: fake.numRegions ?? 10,
            num_irqs: 5,
          }, arg as Buffer);
          return 0;
        case uapi.VFIO_DEVICE_GET_REGION_INFO: {
          const { index } = uapi.vfioRegionInfo.unpack(arg as Buffer);
          const region = regions[index] ?? {};
          if (typeof region === "string") return fail(region);
          const { flags = 0, size = 0n, offset = BigInt(index) << 40n, capabilities } = region;
          const struct = uapi.vfioRegionInfo.pack({ flags, index, size, offset });
          return answerInfo(
            arg as Buffer,
            struct,
            capabilities,
            uapi.vfioRegionInfo.offsetOf("flags"),
            uapi.VFIO_REGION_INFO_FLAG_CAPS,
            uapi.vfioRegionInfo.offsetOf("cap_offset"),
          );
        }
        case uapi.VFIO_DEVICE_FEATURE:
          return answerFeature(fake, arg as Buffer);
        case uapi.VFIO_DEVICE_RESET:
          return 0;
        default:
          return fail("ENOTTY");
      }
    },
    pread(into, offset): number {
      const at = Number(offset & 0xff_ffff_ffffn);
      if (fake.config === undefined || offset >> 40n !== 7n) return fail("EINVAL");
      into.set(fake.config.subarray(at, at + into.length));
      return into.length;
    },
  };
}

function fakeContainer(fake: FakeVfio): FakeFile {
  return {
    ioctl(request, arg): number {
      const errno = fake.failing?.get(request);
      if (errno !== undefined) return fail(errno);
      switch (request) {
        case uapi.VFIO_GET_API_VERSION:
          return fake.apiVersion ?? 0;
        case uapi.VFIO_CHECK_EXTENSION:
          return arg === uapi.VFIO_TYPE1v2_IOMMU && fake.type1v2 !== false ? 1 : 0;
        case uapi.VFIO_IOMMU_GET_INFO:
          return answerInfo(
            arg as Buffer,
            uapi.vfioIommuType1Info.pack({
              flags: uapi.VFIO_IOMMU_INFO_PGSIZES,
              iova_pgsizes: 0x40201000n,
            }),
            fake.iommuCapabilities,
            uapi.vfioIommuType1Info.offsetOf("flags"),
            uapi.VFIO_IOMMU_INFO_CAPS,
            uapi.vfioIommuType1Info.offsetOf("cap_offset"),
          );
        default:
          return 0;
      }
    },
  };
}

/** A kernel with one PCI function bound to `ice-vfio-pci`, ready to be opened. */
export function fakeVfio(fake: FakeVfio = {}): FakeKernel {
  const kernel = new FakeKernel();
  addPci(kernel, ADDRESS, FOLDER, 12, "ice-vfio-pci");
  kernel.texts.set(
    "/sys/kernel/iommu_groups/12/reserved_regions",
    "0x00000000fee00000 0x00000000feefffff msi\n",
  );
  kernel.nodes.set("/dev/vfio/vfio", () => fakeContainer(fake));
  kernel.nodes.set(GROUP_PATH, () => ({
    ioctl(request, arg): number {
      const errno = fake.failing?.get(request);
      if (errno !== undefined) return fail(errno);
      switch (request) {
        case uapi.VFIO_GROUP_GET_STATUS:
          uapi.vfioGroupStatus.pack(
            { flags: fake.groupFlags ?? uapi.VFIO_GROUP_FLAGS_VIABLE },
            arg as Buffer,
          );
          return 0;
        case uapi.VFIO_GROUP_GET_DEVICE_FD: {
          const name = new TextDecoder().decode((arg as Buffer).subarray(0, -1));
          kernel.log.push(`device ${name}`);
          const known = fake.devices ?? [ADDRESS];
          return known.includes(name.split(" ")[0]!)
            ? kernel.install(fakeDevice(fake))
            : fail("ENODEV");
        }
        default:
          return 0;
      }
    },
  }));
  return kernel;
}

/** Puts a PCI function into sysfs. */
export function addPci(
  kernel: FakeKernel,
  address: string,
  folder: string,
  group: number,
  driver: string | null,
  pciClass = "0x020000",
): void {
  const ids = { vendor: "0x8086", device: "0x1889", subsystem_vendor: "0x8086" };
  for (const [file, text] of Object.entries({ ...ids, subsystem_device: "0x0001" })) {
    kernel.texts.set(`${folder}/${file}`, `${text}\n`);
  }
  kernel.texts.set(`${folder}/class`, `${pciClass}\n`);
  // PCI_HEADER_TYPE is 1 for a PCI-to-PCI bridge, and has bit 7 set for one of several functions.
  const headerType = pciClass.startsWith("0x0604") ? 0x81 : 0x80;
  kernel.nodes.set(`${folder}/config`, () => ({
    pread(into, offset): number {
      into.fill(offset === 0x0en ? headerType : 0xff);
      return into.length;
    },
  }));
  kernel.links.set(`${folder}/subsystem`, "/sys/bus/pci");
  kernel.links.set(`${folder}/iommu_group`, `/sys/kernel/iommu_groups/${group}`);
  if (driver !== null) kernel.links.set(`${folder}/driver`, `/sys/bus/pci/drivers/${driver}`);
  kernel.links.set(`/sys/bus/pci/devices/${address}`, folder);
  kernel.links.set(`/sys/kernel/iommu_groups/${group}/devices/${address}`, folder);
}

/** Puts an mdev into sysfs. */
export function addMdev(
  kernel: FakeKernel,
  uuid: string,
  options: {
    readonly group: number;
    readonly driver: string | null;
    readonly type: string;
    readonly parent: string;
  },
): void {
  const parent = "/sys/devices/virtual/parent";
  const folder = `${parent}/${uuid}`;
  kernel.links.set(`${parent}/driver`, `/sys/bus/pci/drivers/${options.parent}`);
  kernel.links.set(`${folder}/subsystem`, "/sys/bus/mdev");
  kernel.links.set(`${folder}/mdev_type`, `${parent}/mdev_supported_types/${options.type}`);
  kernel.links.set(`${folder}/iommu_group`, `/sys/kernel/iommu_groups/${options.group}`);
  if (options.driver !== null) {
    kernel.links.set(`${folder}/driver`, `/sys/bus/mdev/drivers/${options.driver}`);
  }
  kernel.links.set(`/sys/bus/mdev/devices/${uuid}`, folder);
  kernel.links.set(`/sys/kernel/iommu_groups/${options.group}/devices/${uuid}`, folder);
}
