import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { isErrno } from "../../src/kernel/sys_error.ts";
import { O_RDWR } from "../../src/kernel/kernel.ts";
import { canHave, type FaultName, FAULTS } from "../../src/sim/faults/fault_plan.ts";
import { PERSONALITIES, type PersonalityName, SimKernel } from "../../src/sim/mod.ts";
import {
  VFIO_CHECK_EXTENSION,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_IOMMU_GET_INFO,
  VFIO_TYPE1_IOMMU,
  VFIO_TYPE1v2_IOMMU,
  vfioInfoCapHeader,
  vfioIommuType1Info,
  vfioRegionInfo,
  vfioRegionInfoCapSparseMmap,
} from "../../src/uapi/mod.ts";
import { napsOf } from "../_virtual_clock.ts";
import {
  bytes,
  Client,
  DATA_SIZE,
  ERROR,
  PRE_COPY,
  RESUMING,
  RUNNING,
  STOP,
  STOP_AND_COPY,
  text,
} from "./_client.ts";
import type { AnyClient } from "./_device_client.ts";
import { MEMORY_ACTS } from "./_memory_faults.ts";
import { OPENING_ACTS } from "./_opening_faults.ts";
import { V2Client } from "./_v2_client.ts";
import { V2_ACTS } from "./_v2_faults.ts";

function refused(code: string, call: () => unknown): void {
  assert.throws(call, (error) => isErrno(error, code), code);
}

const QUERY = "size=64KiB&chunk=16KiB";
/** The options of each protocol's devices. */
const QUERIES = {
  v1: QUERY,
  v2: `${QUERY}&iommu=pinned`,
  none: "size=64KiB&iommu=pinned",
} as const;

/** The size of a vGPU's transaction: as much as is pending and fits. */
const area = (pending: number): number => Math.min(pending, 16384);

/** The offsets of a region's capabilities, as far as they lie in the buffer. */
function chainOf(info: Uint8Array<ArrayBuffer>): number[] {
  const { cap_offset } = vfioRegionInfo.unpack(info);
  const offsets: number[] = [];
  for (let at = cap_offset; at !== 0 && offsets.length < 5;) {
    offsets.push(at);
    if (at + 8 > info.length) break;
    at = vfioInfoCapHeader.unpack(info, at).next;
  }
  return offsets;
}

type Act = (spec: (query: string) => Client) => void;

/** One check per fault that any device can have: the effect that the device's user sees. */
const ANY_ACTS: Readonly<Partial<Record<FaultName, Act>>> = {
  ...MEMORY_ACTS,
  ...OPENING_ACTS,
  "reset": (make) => {
    using client = make("fault=reset:1:EIO");
    refused("EIO", () => client.reset());
    client.reset();
  },
  "close": (make) => {
    const { kernel, fd, group, container } = make("fault=close:1:EIO");
    refused("EIO", () => kernel.close(fd));
    refused("EBADF", () => kernel.close(fd));
    for (const other of [group, container]) kernel.close(other);
  },
  "open": (make) => {
    refused("EACCES", () => make("fault=open:EACCES"));
  },
  "node-late": (make) => {
    refused("ENOENT", () => make("fault=node-late:1"));
  },
  "device-late": (make) => {
    refused("ENODEV", () => make("fault=device-late:1"));
  },
  "group-busy": (make) => {
    refused("EBUSY", () => make("fault=group-busy"));
  },
  "group-not-viable": (make) => {
    refused("EPERM", () => make("fault=group-not-viable"));
  },
  "type1-only": (make) => {
    refused("ENODEV", () => make("fault=type1-only"));
    const kernel = new SimKernel("trapped?fault=type1-only");
    const container = kernel.open("/dev/vfio/vfio", O_RDWR);
    assert.equal(kernel.ioctl(container, VFIO_CHECK_EXTENSION, VFIO_TYPE1_IOMMU), 1);
    assert.equal(kernel.ioctl(container, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU), 0);
  },
  "no-dirty-capability": (make) => {
    using client = make("fault=no-dirty-capability");
    const arg = bytes(256);
    new DataView(arg.buffer).setUint32(0, 256, true);
    client.kernel.ioctl(client.container, VFIO_IOMMU_GET_INFO, arg);
    const { cap_offset } = vfioIommuType1Info.unpack(arg);
    assert.deepEqual(vfioInfoCapHeader.unpack(arg, cap_offset), { id: 3, version: 1, next: 0 });
  },
};

/** One check per fault of a migration region. */
const V1_ACTS: Readonly<Partial<Record<FaultName, Act>>> = {
  "transition": (make) => {
    using client = make("fault=transition:2:EBUSY");
    client.state = PRE_COPY;
    refused("EBUSY", () => client.state = STOP_AND_COPY);
    assert.equal(client.state, PRE_COPY);
    client.state = STOP_AND_COPY;
  },
  "error-state": (make) => {
    using client = make("fault=error-state:2");
    client.state = PRE_COPY;
    refused("EIO", () => client.state = STOP_AND_COPY);
    assert.equal(client.state, ERROR);
    client.reset();
    assert.notEqual(client.state, ERROR);
  },
  "state-read": (make) => {
    using client = make("fault=state-read:2:EIO");
    client.register;
    refused("EIO", () => client.register);
    client.register;
  },
  "state-late": (make) => {
    using client = make("fault=state-late:1");
    const before = client.state;
    client.state = PRE_COPY;
    assert.deepEqual([client.state, client.state], [before, PRE_COPY]);
  },
  "stop-at-open": (make) => {
    using client = make("fault=stop-at-open");
    assert.equal(client.state, STOP);
    client.state = STOP_AND_COPY;
    assert.equal(client.state, STOP_AND_COPY);
  },
  "reserved-lost": (make) => {
    using client = make("reserved=0xff00&fault=reserved-lost:2");
    client.state = PRE_COPY;
    assert.equal(client.register, 0xff00 | PRE_COPY);
    client.state = STOP_AND_COPY;
    assert.equal(client.register, STOP_AND_COPY);
  },
  "offset-unaligned": (make) => {
    using from = make("seed=3&fault=offset-unaligned");
    from.map();
    from.state = STOP_AND_COPY;
    from.pending;
    assert.equal(from.dataOffset % 4096, 8);
    const transactions = from.drain(area);
    assert.ok(transactions.length > 0);
  },
  "pending-grows": (make) => {
    using client = make("fault=pending-grows:2");
    client.state = STOP_AND_COPY;
    const pending = client.pending;
    assert.equal(client.pending, pending + 4096);
    assert.equal(client.pending, pending);
  },
  "no-data": (make) => {
    using client = make("fault=no-data");
    client.state = STOP_AND_COPY;
    assert.equal(client.pending, 0);
  },
  "block": (make) => {
    using client = make("fault=block:60ms:1");
    client.state = STOP_AND_COPY;
    client.pending;
    assert.deepEqual(napsOf(() => client.dataOffset), [60]);
    assert.deepEqual(napsOf(() => client.dataOffset), []);
  },
  "reset-ignored": (make) => {
    using client = make("fault=reset-ignored:1");
    client.state = STOP_AND_COPY;
    client.reset();
    assert.equal(client.state, STOP_AND_COPY);
  },
  "gone": (make) => {
    using client = make("fault=gone:1");
    client.state = STOP_AND_COPY;
    client.pending;
    refused("ENODEV", () => client.dataOffset);
    refused("ENODEV", () => client.state);
    refused("ENODEV", () => client.reset());
    const { kernel, group, device } = client;
    refused("ENODEV", () => kernel.ioctl(group, VFIO_GROUP_GET_DEVICE_FD, text(device.path)));
  },
  "offset-zero": (make) => {
    using client = make("fault=offset-zero");
    client.state = STOP_AND_COPY;
    client.pending;
    assert.equal(client.dataOffset, 0);
    assert.notEqual(client.dataOffset, 0);
  },
  "lie-offset": (make) => {
    using client = make("fault=lie-offset");
    client.state = STOP_AND_COPY;
    client.pending;
    assert.equal(client.dataOffset, Number(vfioRegionInfo.unpack(client.regionInfo(9)).size));
  },
  "lie-size": (make) => {
    using client = make("fault=lie-size");
    client.state = STOP_AND_COPY;
    client.pending;
    client.dataOffset;
    assert.equal(client.dataSize, Number(vfioRegionInfo.unpack(client.regionInfo(9)).size));
  },
  "lie-wrap": (make) => {
    using client = make("fault=lie-wrap");
    client.state = STOP_AND_COPY;
    client.pending;
    const offset = BigInt(client.dataOffset);
    assert.ok(client.read64(DATA_SIZE) + offset >= 2n ** 64n - 4096n);
  },
  "data-size-zero": (make) => {
    using client = make("fault=data-size-zero:2");
    client.state = STOP_AND_COPY;
    const pending = client.pending;
    for (let i = 0; i < 2; i += 1) {
      client.dataOffset;
      assert.equal(client.dataSize, 0);
      assert.equal(client.pending, pending);
    }
    assert.ok(client.transaction()!.length > 0);
  },
  "stuck": (make) => {
    using client = make("fault=stuck");
    client.state = STOP_AND_COPY;
    const pending = client.pending;
    for (let i = 0; i < 20; i += 1) client.transaction(area);
    assert.equal(client.pending, pending);
  },
  "read": (make) => {
    using client = make("fault=read:2:EFAULT");
    client.state = STOP_AND_COPY;
    client.pending;
    const offset = client.dataOffset;
    client.dataSize;
    client.readRaw(offset, 16);
    refused("EFAULT", () => client.readRaw(offset, 16));
    client.readRaw(offset, 16);
  },
  "short-read": (make) => {
    using client = make("fault=short-read:1");
    client.state = STOP_AND_COPY;
    client.pending;
    const offset = client.dataOffset;
    client.dataSize;
    assert.equal(client.readRaw(offset, 16).length, 8);
    assert.equal(client.readRaw(offset, 16).length, 16);
  },
  "write": (make) => {
    using client = make("fault=write:1:ENOMEM");
    client.state = RESUMING;
    const offset = client.dataOffset;
    refused("ENOMEM", () => client.writeRaw(offset, bytes(16)));
    assert.equal(client.writeRaw(offset, bytes(16)), 16);
  },
  "short-write": (make) => {
    using client = make("fault=short-write:1");
    client.state = RESUMING;
    assert.equal(client.writeRaw(client.dataOffset, bytes(15)), 8);
  },
  "load": (make) => {
    using from = make("seed=3");
    from.state = STOP_AND_COPY;
    const [data] = from.drain(area);
    using to = make("fault=load:1:EIO");
    to.state = RESUMING;
    refused("EIO", () => to.put(data!));
  },
  "mmap": (make) => {
    using client = make("fault=mmap:ENOMEM");
    refused(
      "ENOMEM",
      () => client.kernel.mmap(4096, { fd: client.fd, offset: 9 * 2 ** 40, prot: 1, flags: 1 }),
    );
  },
  "region-size-zero": (make) => {
    using client = make("fault=region-size-zero");
    assert.equal(vfioRegionInfo.unpack(client.regionInfo(9)).size, 0n);
  },
  "caps-loop": (make) => {
    using client = make("fault=caps-loop");
    assert.equal(chainOf(client.regionInfo(9)).length, 5);
  },
  "caps-outside": (make) => {
    using client = make("fault=caps-outside");
    const info = client.regionInfo(9, 200);
    assert.ok(chainOf(info).at(-1)! > vfioRegionInfo.unpack(info).argsz);
  },
  "caps-odd": (make) => {
    using client = make("fault=caps-odd");
    assert.equal(chainOf(client.regionInfo(9))[1]! % 2, 1);
  },
  "caps-truncated": (make) => {
    using client = make("fault=caps-truncated");
    // With the argsz that it asks for, the areas do not fit in the buffer.
    const short = client.regionInfo(9, 32);
    const { argsz, cap_offset } = vfioRegionInfo.unpack(short);
    assert.equal(cap_offset, 0);
    const info = client.regionInfo(9, argsz);
    const last = chainOf(info).at(-1)!;
    assert.throws(() => vfioRegionInfoCapSparseMmap.unpack(info, last), RangeError);
  },
};

for (const name of Object.keys(PERSONALITIES)) {
  const personality = name as PersonalityName;
  const { protocol } = PERSONALITIES[personality];
  const query = personality === "ice" ? "" : `${QUERIES[protocol ?? "none"]}&`;
  describe(`faults of sim:${personality}`, () => {
    for (const key of Object.keys(FAULTS)) {
      const fault = key as FaultName;
      if (!canHave(personality, fault)) continue;
      it(`${fault}: the user sees it, and no violation is counted`, () => {
        const made: AnyClient[] = [];
        const make = <T extends AnyClient>(of: (spec: string) => T) => (more: string): T => {
          const client = of(`sim:${personality}?${query}${more}`);
          made.push(client);
          return client;
        };
        const act = ANY_ACTS[fault] ?? V1_ACTS[fault];
        if (protocol === "v2" && V2_ACTS[fault] !== undefined) V2_ACTS[fault](make(V2Client.of));
        else act!(make(Client.of));
        assert.deepEqual(made.flatMap(({ device }) => device.violations), []);
        assert.deepEqual(made.flatMap(({ kernel }) => kernel.openObjects), []);
      });
    }
  });
}

describe("several faults", () => {
  it("each strike at the right time", () => {
    using client = Client.of(
      `trapped?${QUERY}&fault=transition:2:EIO&fault=error-state:3&fault=state-read:5:ENODEV`,
    );
    client.state = STOP;
    refused("EIO", () => client.state = RUNNING);
    refused("EIO", () => client.state = RUNNING);
    assert.equal(client.state, ERROR);
    refused("ENODEV", () => client.state);
  });
});
