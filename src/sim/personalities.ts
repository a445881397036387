/**
 * The simulated devices there are: the driver each one has, and how it behaves.
 *
 * @module
 */

/** The name of a personality, as in `sim:NAME`. */
export type PersonalityName =
  | "trapped"
  | "mapped"
  | "partitioned"
  | "ice"
  | "nvidia-vgpu"
  | "none";

/** A kind of simulated device. */
export interface Personality {
  /** What it is, in a line. */
  readonly summary: string;
  /** How its data section lies; null where it has no migration region. */
  readonly dataSection: "trapped" | "mapped" | "partitioned" | null;
  /** Bytes of state where the name does not say. */
  readonly defaultSize: number;
  /** PCI vendor, device, subsystem vendor and subsystem ids. */
  readonly ids: readonly [vendor: number, device: number, subVendor: number, sub: number];
  /** PCI class code, 24 bits. */
  readonly pciClass: number;
  /** The mdev's type, as its folder is named in sysfs. */
  readonly mdevType: string;
  /** The mdev type's name in words. */
  readonly typeName: string;
  /** The driver bound to the mdev. */
  readonly driver: string;
  /** The driver of its parent. */
  readonly parentDriver: string;
}

const MIB = 1024 ** 2;
const SIM_VENDOR = 0x564b;
const SIM = {
  defaultSize: 16 * MIB,
  pciClass: 0x120000,
  driver: "vkit_sim",
  parentDriver: "vkit_sim_parent",
} as const;

/** Every personality by name. */
export const PERSONALITIES: Readonly<Record<PersonalityName, Personality>> = {
  "trapped": {
    ...SIM,
    summary: "a v1 device whose data goes through pread and pwrite",
    dataSection: "trapped",
    ids: [SIM_VENDOR, 0x0001, SIM_VENDOR, 0x0001],
    mdevType: "vkit_sim-trapped",
    typeName: "Simulated device, trapped data section",
  },
  "mapped": {
    ...SIM,
    summary: "a v1 device whose data section can be mapped whole",
    dataSection: "mapped",
    ids: [SIM_VENDOR, 0x0002, SIM_VENDOR, 0x0002],
    mdevType: "vkit_sim-mapped",
    typeName: "Simulated device, mapped data section",
  },
  "partitioned": {
    ...SIM,
    summary: "a v1 device whose data section can be mapped in parts: areas unsorted, " +
      "overlapping, one empty; data that begins off a page and straddles them",
    dataSection: "partitioned",
    ids: [SIM_VENDOR, 0x0003, SIM_VENDOR, 0x0003],
    mdevType: "vkit_sim-partitioned",
    typeName: "Simulated device, partitioned data section",
  },
  "ice": {
    summary: "Intel's ice: device_state 0 at open, everything in one transaction of exact " +
      "size at offset 32, loaded on the step to running",
    dataSection: "trapped",
    defaultSize: 128 * 1024,
    ids: [0x8086, 0x1889, 0x8086, 0x0000],
    pciClass: 0x020000,
    mdevType: "ice-vf",
    typeName: "Simulated ice virtual function",
    driver: "ice-vfio-pci",
    parentDriver: "ice",
  },
  "nvidia-vgpu": {
    summary: "NVIDIA's vGPU: data_size reads 0, the data is as much as is pending and fits " +
      "the one mapped area",
    dataSection: "mapped",
    defaultSize: 16 * MIB,
    ids: [0x10de, 0x1eb8, 0x10de, 0x1309],
    pciClass: 0x030000,
    mdevType: "nvidia-63",
    typeName: "Simulated vGPU",
    driver: "nvidia-vgpu-vfio",
    parentDriver: "nvidia",
  },
  "none": {
    ...SIM,
    summary: "a device without a migration region",
    dataSection: null,
    ids: [SIM_VENDOR, 0x0004, SIM_VENDOR, 0x0004],
    mdevType: "vkit_sim-none",
    typeName: "Simulated device, not migratable",
  },
};
