/**
 * Writes migration streams as QEMU does, for tests: RAM, VFIO devices, others, a description.
 */

import type { PciIds } from "../../src/vfio/mod.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** The low word of a VFIO tag. */
const TAG = 0xef100000;

/** Puts bytes together: numbers of a width, texts, and what is bytes already. */
export class Writer {
  readonly #parts: Bytes[] = [];
  /** Bytes so far. */
  length = 0;

  byte(...values: readonly number[]): this {
    return this.add(new Uint8Array(values));
  }

  be16(value: number): this {
    return this.byte(value >> 8, value & 0xff);
  }

  be32(value: number): this {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, value);
    return this.add(bytes);
  }

  be64(value: number): this {
    return this.be32(Math.floor(value / 2 ** 32)).be32(value % 2 ** 32);
  }

  tag(number: number): this {
    return this.be32(0xffffffff).be32(TAG + number);
  }

  text(text: string): this {
    return this.add(new TextEncoder().encode(text));
  }

  /** A text behind a byte with its length. */
  name(text: string): this {
    return this.byte(text.length).text(text);
  }

  add(bytes: Uint8Array): this {
    this.#parts.push(new Uint8Array(bytes));
    this.length += bytes.length;
    return this;
  }

  bytes(): Bytes {
    const all = new Uint8Array(this.length);
    let at = 0;
    for (const part of this.#parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }
}

/** A VFIO device of a stream. */
export interface StreamDevice {
  /** The name of its section. */
  readonly name: string;
  /** What is read of it while it runs: each a record. */
  readonly precopy?: readonly Uint8Array[];
  /** What is read of it once it stands. */
  readonly stopCopy: readonly Uint8Array[];
  /** Its PCI ids. */
  readonly ids?: PciIds;
}

/** What a stream has. */
export interface StreamPlan {
  readonly machine?: string | null;
  /** Pages of RAM with content, and of zeros. */
  readonly pages?: number;
  readonly zeroPages?: number;
  readonly pageSize?: number;
  readonly devices?: readonly StreamDevice[];
  /** Capabilities in the configuration. */
  readonly capabilities?: readonly string[];
  /** A command after the header. */
  readonly command?: number;
  /** Whether the description is left out. */
  readonly undescribed?: boolean;
  /** Sections in parts besides. */
  readonly parts?: readonly string[];
  /** Flags of a page that is sent besides. */
  readonly pageFlags?: number;
  /** A tag in the first device's last section besides. */
  readonly deviceTag?: number;
}

const IDS: PciIds = {
  vendorId: 0x564b,
  deviceId: 8,
  subsystemVendorId: 0x1af4,
  subsystemId: 0x1100,
};

/** A VFIO device's configuration, as vfio-pci has it in the stream. */
function configuration(ids: PciIds): Bytes {
  const config = new Uint8Array(256);
  const view = new DataView(config.buffer);
  view.setUint16(0, ids.vendorId, true);
  view.setUint16(2, ids.deviceId, true);
  view.setUint16(0x2c, ids.subsystemVendorId, true);
  view.setUint16(0x2e, ids.subsystemId, true);
  const interrupts = new Uint8Array(16);
  return new Writer().tag(2).be32(2).add(config).add(interrupts).tag(1).bytes();
}

/** A device without VFIO that is saved at once: an array, a struct, a subsection. */
const OTHER = {
  bytes: new Writer().be32(1).be32(2).byte(3)
    .byte(0x05).name("clock/more").be32(1).be64(7).bytes(),
  description: {
    fields: [
      { name: "words", array_len: 2, type: "uint32", size: 4 },
      { name: "s", type: "struct", struct: { fields: [{ name: "x", size: 1 }] }, size: 1 },
    ],
    subsections: [{ vmsd_name: "clock/more", version: 1, fields: [{ name: "t", size: 8 }] }],
  },
};

/** Writes a stream. */
export function qemuStream(plan: StreamPlan = {}): Bytes {
  const { pages = 3, zeroPages = 2, pageSize = 4096, devices = [] } = plan;
  const out = new Writer().text("QEVM").be32(3);
  const machine = plan.machine === undefined ? "pc-q35-10.0" : plan.machine;
  if (machine !== null) {
    out.byte(0x07).be32(machine.length).text(machine);
    if (pageSize !== 4096) {
      out.byte(0x05).name("configuration/target-page-bits").be32(1).be32(Math.log2(pageSize));
    }
    out.byte(0x05).name("configuration/uuid").be32(1).add(new Uint8Array(16));
    const { capabilities } = plan;
    if (capabilities !== undefined) {
      out.byte(0x05).name("configuration/capabilities").be32(1).be32(capabilities.length);
      for (const capability of capabilities) out.name(capability);
    }
  }
  if (plan.command !== undefined) out.byte(0x08).be16(plan.command).be16(2).be16(0);
  const end = (id: number): Writer => out.byte(0x7e).be32(id);
  const start = (id: number, name: string, version: number): Writer =>
    out.byte(0x01).be32(id).name(name).be32(0).be32(version);
  const blocks = [["pc.ram", Math.max(1, pages + zeroPages) * pageSize], [
    "rom",
    pageSize,
  ]] as const;
  start(2, "ram", 4).be64(blocks[0][1] + blocks[1][1] | 4);
  for (const [name, length] of blocks) out.name(name).be64(length);
  out.be64(0x10);
  end(2);
  devices.forEach(({ name }, index) => {
    start(10 + index, name, 1).tag(3).tag(1);
    end(10 + index);
  });
  (plan.parts ?? []).forEach((name, index) => {
    start(90 + index, name, 1);
    end(90 + index);
  });
  const half = Math.floor(pages / 2);
  const ram = (from: number, to: number): void => {
    for (let page = from; page < to; page++) {
      const content = new Uint8Array(pageSize).fill(page + 1);
      if (page === from) out.be64(page * pageSize + 0x08).name("pc.ram").add(content);
      else out.be64(page * pageSize + 0x28).add(content);
    }
  };
  out.byte(0x02).be32(2);
  ram(0, half);
  if (plan.pageFlags !== undefined) out.be64(plan.pageFlags);
  out.be64(0x10);
  end(2);
  devices.forEach(({ precopy = [] }, index) => {
    for (const data of precopy) {
      out.byte(0x02).be32(10 + index).tag(4).be64(data.length).add(data).tag(1);
      end(10 + index);
    }
  });
  out.byte(0x03).be32(2);
  for (let page = pages; page < pages + zeroPages; page++) {
    if (page === pages) out.be64(page * pageSize + 0x02).name("pc.ram").byte(0);
    else out.be64(page * pageSize + 0x22).byte(0);
  }
  ram(half, pages);
  out.be64(0x10);
  end(2);
  devices.forEach(({ stopCopy }, index) => {
    out.byte(0x03).be32(10 + index);
    if (index === 0 && plan.deviceTag !== undefined) out.tag(plan.deviceTag);
    for (const data of stopCopy) out.tag(4).be64(data.length).add(data);
    out.tag(1);
    end(10 + index);
  });
  const described: unknown[] = [];
  const full = (id: number, name: string, bytes: Bytes, description: object): void => {
    out.byte(0x04).be32(id).name(name).be32(0).be32(1).add(bytes);
    end(id);
    described.push({ name, instance_id: 0, version: 1, ...description });
  };
  full(50, "clock", OTHER.bytes, OTHER.description);
  devices.forEach(({ name, ids = IDS }, index) => {
    const bytes = configuration(ids);
    const size = bytes.length;
    full(60 + index, name, bytes, { size, fields: [{ name: "data", size, type: "buffer" }] });
  });
  out.byte(0x00);
  if (plan.undescribed !== true) {
    const json = new TextEncoder().encode(
      JSON.stringify({ page_size: pageSize, devices: described }),
    );
    out.byte(0x06).be32(json.length).add(json);
  }
  return out.bytes();
}

/** The bytes as a stream of pieces of some length. */
export async function* pieces(bytes: Bytes, length: number): AsyncGenerator<Bytes> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.slice(at, at + length);
}
