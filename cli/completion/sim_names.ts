/**
 * What the simulator knows by name, repeated here so that completion does not load it.
 *
 * @module
 */

/** Its personalities. */
export const SIMULATED: readonly string[] = [
  "trapped",
  "mapped",
  "partitioned",
  "ice",
  "nvidia-vgpu",
  "mlx5",
  "qat",
  "hisi",
  "virtio",
  "pds",
  "mtty",
  "stop-copy-only",
  "vfio-pci",
  "none",
];

/** The options of a simulated device. */
export const SIM_OPTIONS: readonly string[] = [
  "size",
  "seed",
  "rate",
  "chunk",
  "reserved",
  "dma",
  "pin",
  "iommu",
  "memlock",
  "log-page",
  "reinit",
  "cdev",
  "group",
  "doorbell",
  "fault",
  "bug",
];
