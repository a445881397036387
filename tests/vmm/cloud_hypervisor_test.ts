import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { readCloudHypervisorConfig } from "../../src/vmm/cloud_hypervisor/read_config.ts";
import {
  type CloudHypervisorSnapshot,
  readCloudHypervisorSnapshot,
} from "../../src/vmm/cloud_hypervisor/read_snapshot.ts";
import { stateOfSnapshot } from "../../src/vmm/cloud_hypervisor/state_of_snapshot.ts";
import { VmmFileError, type VmmFileErrorCode } from "../../src/vmm/vmm_file_error.ts";
import { node, type SnapshotDevice, snapshotState, snapshotTree } from "./_cloud_hypervisor.ts";
import { pieces } from "./_qemu_stream.ts";

type Bytes = Uint8Array<ArrayBuffer>;

function counted(length: number): Bytes {
  return Uint8Array.from({ length }, (_, index) => index * 7);
}

const DEVICES: readonly SnapshotDevice[] = [
  { name: "nic0", state: counted(1000) },
  { name: "_vfio6", state: null },
  { name: "gpu/ü", state: counted(1001) },
  { name: "empty", state: counted(0) },
];

function read(bytes: Bytes | string, length = 65_536): Promise<CloudHypervisorSnapshot> {
  const all = typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes;
  return readCloudHypervisorSnapshot(pieces(all, length));
}

/** The error of a text in whatever pieces it comes: the same. */
async function problem(text: string): Promise<VmmFileError> {
  const errors = await Promise.all([1, 7, 65_536].map(async (length) => {
    try {
      await read(text, length);
    } catch (error) {
      assert.ok(error instanceof VmmFileError, String(error));
      return error;
    }
    return assert.fail(`it was read: ${text.slice(0, 200)}`);
  }));
  assert.equal(new Set(errors.map(({ message }) => message)).size, 1, errors[0]!.message);
  return errors[0]!;
}

/** A snapshot as text, in which something was replaced. */
function changed(from: string | RegExp, to: string): string {
  const text = new TextDecoder().decode(snapshotState(DEVICES));
  const other = text.replace(from, to);
  assert.notEqual(other, text);
  return other;
}

/** Runs with a file of these bytes. */
async function withFile(bytes: Uint8Array, use: (fd: number) => Promise<void>): Promise<void> {
  const folder = fs.mkdtempSync(join(tmpdir(), "vfiokit-"));
  const file = join(folder, "state.json");
  fs.writeFileSync(file, bytes);
  const fd = fs.openSync(file, "r+");
  try {
    await use(fd);
  } finally {
    fs.closeSync(fd);
    fs.rmSync(folder, { recursive: true });
  }
}

describe("a snapshot of cloud-hypervisor's", () => {
  it("is read whatever pieces it comes in", async () => {
    const bytes = snapshotState(DEVICES);
    const whole = await read(bytes);
    assert.equal(whole.bytes, bytes.length);
    assert.deepEqual(whole.memory, { bytes: 4 * 2 ** 30, ranges: 2 });
    assert.deepEqual(whole.others, ["_virtio-pci-_disk0", "__serial"]);
    assert.deepEqual(
      whole.devices.map(({ name, guestAddress, bytes, blob }) => [
        ...[name, guestAddress, bytes, blob?.length ?? null],
      ]),
      [
        ["nic0", "0000:00:05.0", 1000, 1336],
        ["_vfio6", "0000:00:06.0", 0, null],
        ["gpu/ü", "0000:00:07.0", 1001, 1336],
        ["empty", "0000:00:08.0", 0, 0],
      ],
    );
    for (const length of [1, 2, 3, 100, 4096]) {
      assert.deepEqual(await read(bytes, length), whole, `pieces of ${length}`);
    }
  });

  it("is read as cloud-hypervisor's own types write it", async () => {
    // fixtures/cloud-hypervisor/state.json came from the structs of cloud-hypervisor 53.0 (Snapshot,
    // VfioMigrationData, MemoryRangeTable), put together by a small program, through serde_json.
    const file = new URL("../../fixtures/cloud-hypervisor/state.json", import.meta.url);
    const fd = fs.openSync(file, "r");
    try {
      const { devices, memory, others } = await read(new Uint8Array(fs.readFileSync(fd)), 1000);
      assert.deepEqual([memory, others], [{ bytes: 3 * 2 ** 30, ranges: 2 }, ["__serial"]]);
      assert.deepEqual(devices.map(({ name, bytes }) => [name, bytes]), [
        ["_vfio6", 0],
        ["nic0", 3001],
        ['ü "q"', 1],
      ]);
      const stateful = devices.slice(1);
      const states = await Array.fromAsync(stateOfSnapshot(fd, stateful), ({ data }) => data);
      assert.deepEqual(states.map((data) => data.slice()), [counted(3001), counted(2).slice(1)]);
    } finally {
      fs.closeSync(fd);
    }
  });

  it("may be written in another way, with white space and keys in any order", async () => {
    const tree = snapshotTree(DEVICES);
    const reversed = (value: unknown): unknown =>
      typeof value !== "object" || value === null ? value : Object.fromEntries(
        Object.entries(value).toReversed().map(([key, one]) => [key, reversed(one)]),
      );
    const { devices } = await read(`\n${JSON.stringify(reversed(tree), null, "\t")}\n `, 10);
    assert.deepEqual(devices.map(({ bytes }) => bytes).sort(), [0, 0, 1000, 1001]);
  });

  it("has state that becomes transactions of up to a MiB", async () => {
    const large = counted(3 * 2 ** 20 + 5);
    const devices = [{ name: "a", state: counted(10) }, { name: "b", state: large }];
    const bytes = snapshotState(devices);
    const { devices: found } = await read(bytes);
    await withFile(bytes, async (fd) => {
      const parts: Bytes[][] = [[], []];
      for await (const { device, phase, data, more } of stateOfSnapshot(fd, found)) {
        assert.deepEqual([phase, more], ["stop-and-copy", false]);
        assert.ok(data.length <= 2 ** 20);
        parts[device]!.push(data);
      }
      assert.equal(parts[1]!.length, 4);
      const joined = parts.map((all) => Buffer.concat(all));
      assert.deepEqual(joined.map(({ length }) => length), [10, large.length]);
      assert.ok(devices.every(({ state }, index) => joined[index]!.equals(state)));
    });
  });

  it("that was changed or cut after it was read gives an error, and no wrong bytes", async () => {
    const bytes = snapshotState([{ name: "a", state: counted(3000) }]);
    const { devices } = await read(bytes);
    for (const [what, expected] of [[" ", "damaged"], ['"', "damaged"], ["", "truncated"]]) {
      await withFile(bytes, async (fd) => {
        const at = devices[0]!.blob!.offset + 100;
        if (what === "") fs.ftruncateSync(fd, at);
        else fs.writeSync(fd, new TextEncoder().encode(what), 0, 1, at);
        await assert.rejects(
          Array.fromAsync(stateOfSnapshot(fd, devices)),
          (error: VmmFileError) => error.code === expected,
          JSON.stringify(what),
        );
      });
    }
  });

  it("is refused wherever it is cut", async () => {
    const common = node({ irq: null }, {
      vfio_migration: node({ blob: "AAcO" }),
      other: node(null),
    });
    const manager = { ...node({}, { nic0: node(null, { vfio_common: common }) }), more: [1, true] };
    const bytes = new TextEncoder().encode(
      JSON.stringify(node(null, { "device-manager": manager })),
    );
    for (let length = 0; length < bytes.length; length++) {
      await assert.rejects(
        read(bytes.subarray(0, length)),
        (error: VmmFileError) => error.code === "truncated" && error.offset === length,
        `after ${length} bytes`,
      );
    }
  });

  it("is refused by name if an older version wrote it", async () => {
    const v28 = await problem('{"id":"vm","snapshots":{},"snapshot_data":{}}');
    assert.deepEqual([v28.code, v28.hint !== undefined], ["unsupported", true]);
    assert.match(v28.message, /cloud-hypervisor 28 or earlier wrote it, which saved no state/);
    const v29 = await problem('{"snapshots":{"cpu-manager":{"snapshots":{},"snapshot_data":[1]}}}');
    assert.match(v29.message, /cloud-hypervisor 29 to 38 wrote it/);
    // From 39 on the layout is the same, and the state is missing.
    const { devices } = await read(snapshotState([{ name: "nic0", state: null }]));
    assert.deepEqual(devices.map(({ blob }) => blob), [null]);
  });

  const cases: readonly (readonly [what: string, text: () => string, VmmFileErrorCode, RegExp])[] =
    [
      ["no object", () => "[]", "not-a-vmm-file", /no snapshot of cloud-hypervisor's/],
      ["an object of another kind", () => '{"a":1}', "not-a-vmm-file", /no device-manager/],
      ["a device twice", () => changed('"_vfio6":{', '"nic0":{},"_vfio6":{'), "damaged", /twice/],
      [
        "a device that is null",
        () => changed('"__serial":{', '"x":null,"__serial":{'),
        "damaged",
        /no object/,
      ],
      [
        "other state",
        () => changed(/\\"blob\\"/, '\\"blobs\\"'),
        "unsupported",
        /state of nic0 is not \{"blob"/,
      ],
      [
        "more beside the state",
        () =>
          changed(/AA==\\"}|\\"}(?="}}},"snapshot_data":\{"state":"\{\\"intx)/, '\\",\\"v\\":2}'),
        "unsupported",
        /state of nic0 is not/,
      ],
      [
        "an escape in the state",
        () => changed("AAcOFRw", "AAcO\\/Rw"),
        "unsupported",
        /state of nic0 is not/,
      ],
      ["no base64", () => changed("AAcOFRw", "AAcO!Rw"), "damaged", /state of nic0 is no base64/],
      ["padding inside", () => changed("AAcOFRw", "AAc=FRw"), "damaged", /no base64/],
      ["a digit too few", () => changed("AAcOFRw", "AAcORw"), "damaged", /no base64/],
      [
        "state that is no text",
        () => changed(/"state":"\{\\"blob[^"]*"[^"]*"[^"]*"[^"]*"/, '"state":7'),
        "damaged",
        /nic0 is no text/,
      ],
      [
        "no state where it belongs",
        () => changed(/\{"state":"\{\\"blob[^"]*"[^"]*"[^"]*"[^"]*"\}/, "null"),
        "damaged",
        /vfio_migration of nic0 has no state/,
      ],
      [
        "a device tree that is no JSON",
        () => changed('"{\\"device_tree', '"{\\"device_tree\\"'),
        "damaged",
        /device-manager is no JSON/,
      ],
      [
        "a control character in it",
        () => changed('"{\\"device_tree', '"{\n\\"device_tree'),
        "damaged",
        /device-manager is no text/,
      ],
      ["something behind it", () => changed(/$/, "x"), "damaged", /JSON has its end here/],
      ["another document behind it", () => changed(/$/, "{}"), "damaged", /JSON has its end here/],
      ["a comma too many", () => changed("}}}", "}},}"), "damaged", /JSON has a key here/],
      ["no colon", () => changed(":", " "), "damaged", /JSON has a colon here/],
      ["a word that is none", () => changed(":null", ":nil"), "damaged", /"nil" is no value/],
      [
        "an endless number",
        () => changed(":null", `:${"1".repeat(65)}`),
        "damaged",
        /number is too long/,
      ],
      [
        "a key that is too long",
        () => changed("nic0", "n".repeat(1025)),
        "unsupported",
        /key has more than 1024/,
      ],
      ["a key that is no text", () => changed("nic0", "ni\\x"), "damaged", /a key is no text/],
      ["levels without end", () => `{"a":${"[".repeat(200)}`, "damaged", /deeper than 128/],
    ];
  for (const [what, text, code, message] of cases) {
    it(`is refused with ${what}`, async () => {
      const error = await problem(text());
      assert.equal(error.code, code, error.message);
      assert.match(error.message, message);
    });
  }

  it("is refused if it has more devices than any machine, and is not held in memory", async () => {
    const many = Array.from({ length: 16_385 }, (_, index) => [`d${index}`, {}]);
    const tree = { "device-manager": { snapshots: Object.fromEntries(many) } };
    await assert.rejects(read(JSON.stringify({ snapshots: tree })), /more than 16384 devices/);
    const large = node({ text: "x".repeat(17 << 20) });
    await assert.rejects(
      read(JSON.stringify({ snapshots: { "device-manager": large } })),
      /device-manager has more than 16777216 bytes/,
    );
    // What is not kept may be of any length.
    const others = { "cpu-manager": large, "device-manager": node(null) };
    assert.deepEqual((await read(JSON.stringify({ snapshots: others }))).devices, []);
  });

  it("tells nothing of memory or addresses that are not as expected", async () => {
    for (const ranges of [null, [], { data: 1 }, { data: [{ length: -1 }] }, { data: [{}] }]) {
      const managers = {
        "device-manager": node({ device_tree: { nic0: { pci_bdf: "../../etc" } } }, {
          nic0: node(null, { vfio_common: node({}) }),
        }),
        "memory-manager": node({ memory_ranges: ranges }),
      };
      const { memory, devices } = await read(JSON.stringify(node(null, managers)));
      assert.deepEqual([memory, devices[0]!.guestAddress], [null, null]);
    }
  });

  it("reports how much of it was read, and ends when it is told to", async () => {
    const bytes = snapshotState(DEVICES);
    const seen: number[] = [];
    await readCloudHypervisorSnapshot(pieces(bytes, 1000), {
      onProgress: (progress) => seen.push(progress.bytes),
    });
    assert.equal(seen.at(-1), bytes.length);
    const abort = new AbortController();
    const enough = new Error("enough");
    await assert.rejects(
      readCloudHypervisorSnapshot(pieces(bytes, 1000), {
        signal: abort.signal,
        onProgress: () => abort.abort(enough),
      }),
      enough,
    );
  });
});

describe("the configuration beside a snapshot", () => {
  it("says where the devices were, in both files that there are", () => {
    const inner = {
      devices: [{ id: "a", path: "/sys/bus/pci/devices/0000:01:00.0/" }, { id: "fd", fd: -1 }, 5],
      user_devices: [{ id: "b", socket: "/run/b.sock" }],
    };
    const expected = [
      { name: "a", path: "/sys/bus/pci/devices/0000:01:00.0/" },
      { name: "b", path: "/run/b.sock" },
    ];
    assert.deepEqual(readCloudHypervisorConfig(JSON.stringify(inner)), expected);
    assert.deepEqual(readCloudHypervisorConfig(JSON.stringify({ vm_config: inner })), expected);
    assert.deepEqual(readCloudHypervisorConfig('{"devices":null}'), []);
    for (const bad of ["", "[]", '{"devices":']) {
      assert.throws(
        () => readCloudHypervisorConfig(bad),
        (error: VmmFileError) => error.code === "damaged",
      );
    }
  });
});
