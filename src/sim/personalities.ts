/**
 * The personalities of simulated devices: the driver of each, and how it behaves.
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
  | "mlx5"
  | "qat"
  | "hisi"
  | "virtio"
  | "pds"
  | "mtty"
  | "stop-copy-only"
  | "vfio-pci"
  | "none";

/** The type of a mediated device. */
export interface MdevType {
  /** The name of the type's directory in sysfs. */
  readonly id: string;
  /** The type's human-readable name. */
  readonly name: string;
}

/** A kind of simulated device. */
export interface Personality {
  /** A description in one line. */
  readonly summary: string;
  /** The migration protocol; null if the device does not migrate. */
  readonly protocol: "v1" | "v2" | null;
  /** How the data section is accessed; null if there is no migration region. */
  readonly dataSection: "trapped" | "mapped" | "partitioned" | null;
  /** The default size of the state in bytes. */
  readonly defaultSize: number;
  /** PCI vendor, device, subsystem vendor and subsystem ids. */
  readonly ids: readonly [vendor: number, device: number, subVendor: number, sub: number];
  /** PCI class code, 24 bits. */
  readonly pciClass: number;
  /** The driver bound to it. */
  readonly driver: string;
  /** The driver of a mediated device's parent, or of a virtual function's physical function. */
  readonly parentDriver: string;
  /** A mediated device's type; null for a virtual function of a PCI device. */
  readonly mdev: MdevType | null;
}

const MIB = 1024 ** 2;
const SIM_VENDOR = 0x564b;
const SIM = { defaultSize: 16 * MIB, pciClass: 0x120000 } as const;
const SIM_MDEV = { ...SIM, driver: "vkit_sim", parentDriver: "vkit_sim_parent" } as const;
const V2 = { protocol: "v2", dataSection: null, defaultSize: 16 * MIB } as const;
const MLX5_VF = [0x15b3, 0x101e, 0x15b3, 0x0023] as const;

function simMdev(kind: string, words: string): MdevType {
  return { id: `vkit_sim-${kind}`, name: `Simulated device, ${words}` };
}

/** Every personality by name. */
export const PERSONALITIES: Readonly<Record<PersonalityName, Personality>> = {
  "trapped": {
    ...SIM_MDEV,
    summary: "a v1 device whose data goes through pread and pwrite",
    protocol: "v1",
    dataSection: "trapped",
    ids: [SIM_VENDOR, 0x0001, SIM_VENDOR, 0x0001],
    mdev: simMdev("trapped", "trapped data section"),
  },
  "mapped": {
    ...SIM_MDEV,
    summary: "a v1 device whose data section can be mapped whole",
    protocol: "v1",
    dataSection: "mapped",
    ids: [SIM_VENDOR, 0x0002, SIM_VENDOR, 0x0002],
    mdev: simMdev("mapped", "mapped data section"),
  },
  "partitioned": {
    ...SIM_MDEV,
    summary: "a v1 device whose data section can be mapped in parts: the areas are unsorted, " +
      "they overlap, and one is empty; data begins inside a page and straddles areas",
    protocol: "v1",
    dataSection: "partitioned",
    ids: [SIM_VENDOR, 0x0003, SIM_VENDOR, 0x0003],
    mdev: simMdev("partitioned", "partitioned data section"),
  },
  "ice": {
    summary: "Intel's ice: device_state is 0 at open; all data is one transaction of an exact " +
      "size at offset 32, and is loaded by the step to running",
    protocol: "v1",
    dataSection: "trapped",
    defaultSize: 128 * 1024,
    ids: [0x8086, 0x1889, 0x8086, 0x0000],
    pciClass: 0x020000,
    driver: "ice-vfio-pci",
    parentDriver: "ice",
    mdev: { id: "ice-vf", name: "Simulated ice virtual function" },
  },
  "nvidia-vgpu": {
    summary: "NVIDIA's vGPU: data_size reads 0; a transaction is as much as is pending and " +
      "fits the one area that the device declares",
    protocol: "v1",
    dataSection: "mapped",
    defaultSize: 16 * MIB,
    ids: [0x10de, 0x1eb8, 0x10de, 0x1309],
    pciClass: 0x030000,
    driver: "nvidia-vgpu-vfio",
    parentDriver: "nvidia",
    mdev: { id: "nvidia-63", name: "Simulated vGPU" },
  },
  "mlx5": {
    ...V2,
    summary: "NVIDIA's ConnectX: v2 with P2P and PRE_COPY; a read without data fails with " +
      "ENOMSG, and only the precopy info ioctl scans for changes; it logs its DMA",
    ids: MLX5_VF,
    pciClass: 0x020000,
    driver: "mlx5_vfio_pci",
    parentDriver: "mlx5_core",
    mdev: null,
  },
  "qat": {
    ...V2,
    summary: "Intel's QuickAssist: v2 with P2P and PRE_COPY, which yields a preface only; " +
      "a read without data returns 0 bytes",
    ids: [0x8086, 0x4941, 0x8086, 0x0000],
    pciClass: 0x0b4000,
    driver: "qat_vfio_pci",
    parentDriver: "4xxx",
    mdev: null,
  },
  "hisi": {
    ...V2,
    summary: "HiSilicon's accelerators: v2 with PRE_COPY but no P2P; a preface that does not " +
      "match fails with EFAULT",
    ids: [0x19e5, 0xa256, 0x19e5, 0x0000],
    pciClass: 0x100000,
    driver: "hisi_acc_vfio_pci",
    parentDriver: "hisi_sec2",
    mdev: null,
  },
  "virtio": {
    ...V2,
    summary: "virtio's virtual functions: v2 with P2P and PRE_COPY; like mlx5, but scans for " +
      "changes at most ten times per second",
    ids: [0x1af4, 0x1041, 0x1af4, 0x1100],
    pciClass: 0x020000,
    driver: "virtio_vfio_pci",
    parentDriver: "virtio-pci",
    mdev: null,
  },
  "pds": {
    ...V2,
    summary: "AMD's Pensando: v2 with P2P but no PRE_COPY; it logs its DMA",
    ids: [0x1dd8, 0x1003, 0x1dd8, 0x5001],
    pciClass: 0x020000,
    driver: "pds_vfio_pci",
    parentDriver: "ionic",
    mdev: null,
  },
  "mtty": {
    ...V2,
    summary: "the kernel's sample device, mediated: v2 with P2P and PRE_COPY; it takes the " +
      "step to STOP even after it refused a write",
    ids: [0x4348, 0x3253, 0x4348, 0x3253],
    pciClass: 0x070002,
    driver: "vfio_mtty",
    parentDriver: "mtty",
    mdev: { id: "mtty-1", name: "Single port serial" },
  },
  "stop-copy-only": {
    ...SIM,
    summary: "a v2 device as in kernel 6.1: no P2P, no PRE_COPY, no MIG_DATA_SIZE",
    protocol: "v2",
    dataSection: null,
    ids: [SIM_VENDOR, 0x0005, SIM_VENDOR, 0x0005],
    driver: "vkit_sim_vfio_pci",
    parentDriver: "vkit_sim_pf",
    mdev: null,
  },
  "vfio-pci": {
    summary: "a virtual function that could migrate, but is bound to plain vfio-pci",
    protocol: null,
    dataSection: null,
    defaultSize: 16 * MIB,
    ids: MLX5_VF,
    pciClass: 0x020000,
    driver: "vfio-pci",
    parentDriver: "mlx5_core",
    mdev: null,
  },
  "none": {
    ...SIM_MDEV,
    summary: "a device without a migration region",
    protocol: null,
    dataSection: null,
    ids: [SIM_VENDOR, 0x0004, SIM_VENDOR, 0x0004],
    mdev: simMdev("none", "not migratable"),
  },
};
