/**
 * Writes snapshots as cloud-hypervisor 53.0 does, for tests: the tree of `state.json`.
 */

import { Buffer } from "node:buffer";

type Bytes = Uint8Array<ArrayBuffer>;

/** A VFIO device of a snapshot. */
export interface SnapshotDevice {
  /** Its id. */
  readonly name: string;
  /** Its state; null for none. */
  readonly state: Uint8Array | null;
}

/** A node of the tree. */
export interface SnapshotNode {
  readonly snapshots: Readonly<Record<string, SnapshotNode>>;
  readonly snapshot_data: { readonly state: string } | null;
}

/** A node with some state, and others below it. */
export function node(
  state: unknown,
  snapshots: Readonly<Record<string, SnapshotNode>> = {},
): SnapshotNode {
  return {
    snapshots,
    snapshot_data: state === null ? null : { state: JSON.stringify(state) },
  };
}

/** A VFIO device's nodes. Nothing of its identity is in them: the registers that count are zero. */
function deviceNode({ state }: SnapshotDevice): SnapshotNode {
  const configuration = {
    registers: Array.from({ length: 1024 }, (_, index) => index === 1 ? 0x406 : 0),
    writable_bits: new Array<number>(1024).fill(0),
    bars: [{ addr: 0, size: 0, used: false, type: null }],
    last_capability: null,
  };
  const migration = state === null ? {} : {
    vfio_migration: node({ blob: Buffer.from(state).toString("base64") }),
  };
  return node(null, {
    vfio_common: node({ intx_state: null, msi_state: null, msix_state: null }, {
      msix_config: node({ table_entries: [], masked: false }),
      pci_configuration: node(configuration),
      ...migration,
    }),
  });
}

/** The tree of a snapshot with these devices. */
export function snapshotTree(devices: readonly SnapshotDevice[]): SnapshotNode {
  const tree = Object.fromEntries(devices.map(({ name }, index) => [name, {
    id: name,
    resources: [{ PciBar: { index: 0, base: 0xe0000000, size: 4096, type_: "Mmio32" } }],
    children: [],
    pci_bdf: `0000:00:${(index + 5).toString(16).padStart(2, "0")}.0`,
  }]));
  const others = {
    "_virtio-pci-_disk0": node(null, { virtio_pci_common_config: node({ driver_status: 15 }) }),
    __serial: node({ interrupt_enable: 5, out_buffer: [34, 92, 10] }),
  };
  return node({ clock: { KvmClock: { clock: 12345 } }, common_cpuid: [] }, {
    "cpu-manager": node(null, { "0": node({ regs: { rax: 1 }, text: 'a "quoted" \\ one\n' }) }),
    "device-manager": node({ device_tree: tree, device_id_cnt: devices.length + 1 }, {
      ...others,
      ...Object.fromEntries(devices.map((device) => [device.name, deviceNode(device)])),
    }),
    "memory-manager": node({
      memory_ranges: { data: [{ gpa: 0, length: 3 * 2 ** 30 }, { gpa: 2 ** 32, length: 2 ** 30 }] },
      boot_ram: 4 * 2 ** 30,
    }),
  });
}

/** A `state.json` with these devices. */
export function snapshotState(devices: readonly SnapshotDevice[]): Bytes {
  return new TextEncoder().encode(JSON.stringify(snapshotTree(devices)));
}

/** The `config.json` beside it. */
export function snapshotConfig(
  devices: readonly { readonly id: string; readonly path: string }[],
): string {
  return JSON.stringify({ cpus: { boot_vcpus: 4 }, memory: { size: 4 * 2 ** 30 }, devices });
}
