/** How the bugs of v1 devices show. */

import {
  type Bytes,
  bytes,
  DATA_OFFSET,
  DATA_SIZE,
  DEVICE_STATE,
  ERROR,
  PENDING_BYTES,
  PRE_COPY,
  RESUMING,
  RUNNING,
  STOP,
  STOP_AND_COPY,
} from "../_client.ts";
import {
  vfioInfoCapHeader,
  vfioRegionInfo,
  vfioRegionInfoCapSparseMmap,
} from "../../../src/uapi/mod.ts";
import { type BugCase, said } from "./_case.ts";
import { V1BugClient } from "./_clients.ts";
import { writesAfter } from "./_dma.ts";

const MAPPED = "mapped?size=64KiB&chunk=16KiB";
/** The size of the region: the registers' page, and room for a transaction. */
const REGION = 4096 + 16384;
const RESERVED = 4;

const set = (client: V1BugClient, state: number): unknown =>
  said(() => void (client.state = state));

/** The answer to the last write of several states, and the state then. */
const steps = (...states: number[]) => (client: V1BugClient): unknown => {
  for (const state of states.slice(0, -1)) client.state = state;
  return [set(client, states.at(-1)!), client.register & 7];
};

/** Two reads of pending_bytes, data_offset, data_size, each as the answer or an errno. */
function transaction(client: V1BugClient): { pending: unknown; offset: unknown; size: unknown } {
  return {
    pending: said(() => client.pending),
    offset: said(() => client.dataOffset),
    size: said(() => client.dataSize),
  };
}

const first = (field: "pending" | "offset" | "size") => (client: V1BugClient): unknown => {
  client.state = STOP_AND_COPY;
  return transaction(client)[field];
};

/** pending_bytes, twice, when all was read. */
function atEnd(client: V1BugClient): unknown {
  client.state = STOP_AND_COPY;
  for (let round = 0; round < 5; round += 1) {
    const pending = client.pending;
    if (pending === 0 || pending === 4096) return [pending, client.pending];
    const { dataOffset, dataSize } = client;
    client.readData(dataOffset, dataSize);
  }
  return [client.pending, client.pending];
}

function dataOf(spec: string): Bytes[] {
  using client = new V1BugClient(spec);
  client.state = STOP_AND_COPY;
  return client.drain();
}

const PLAIN = "trapped?size=64KiB&chunk=16KiB&seed=7";
const DATA = dataOf(PLAIN);

/** Writes transactions; returns the answers of the restore and of the step to RUNNING. */
const restored = (count: number) => (client: V1BugClient): unknown => {
  client.state = RESUMING;
  const written = said(() => DATA.slice(0, count).forEach((data) => client.put(data)));
  return [written, set(client, RUNNING)];
};

/** The bytes of all transactions, with a register read twice in each. */
const bytesWith =
  (again: "pending" | "dataOffset" | "dataSize") => (client: V1BugClient): unknown => {
    client.state = STOP_AND_COPY;
    let total = 0;
    while (client.pending > 0) {
      if (again === "pending" && client.pending === 0) break;
      let offset = client.dataOffset;
      if (again === "dataOffset") offset = client.dataOffset;
      let size = client.dataSize;
      if (again === "dataSize") size = client.dataSize;
      total += client.readData(offset, size).length;
    }
    return total;
  };

const TOTAL = DATA.reduce((sum, { length }) => sum + length, 0);

const regionInfo = (client: V1BugClient): { flags: number; size: bigint } =>
  vfioRegionInfo.unpack(client.regionInfo(9));

/** The first area. */
function area(client: V1BugClient): unknown {
  const { areas } = vfioRegionInfoCapSparseMmap.unpack(
    client.regionInfo(9),
    vfioRegionInfo.size + 16,
  );
  const { offset, size } = areas[0]!;
  return [Number(offset), Number(size)];
}

export const V1_CASES = {
  "region-read-only": { probe: (client) => regionInfo(client).flags & 2, clean: 2, buggy: 0 },
  "region-small": { probe: (client) => Number(regionInfo(client).size), clean: REGION, buggy: 32 },
  "caps-endless": {
    probe: (client) => vfioInfoCapHeader.unpack(client.regionInfo(9), vfioRegionInfo.size).next,
    clean: 0,
    buggy: vfioRegionInfo.size,
  },
  "area-outside": { on: MAPPED, probe: area, clean: [4096, 16384], buggy: [4096, REGION] },
  "area-empty": { on: MAPPED, probe: area, clean: [4096, 16384], buggy: [4096, 0] },
  "area-unaligned": { on: MAPPED, probe: area, clean: [4096, 16384], buggy: [4104, 12288] },

  "starts-stopped": { probe: (client) => client.register & 7, clean: RUNNING, buggy: STOP },
  "reserved-lost": {
    probe: (client) => {
      client.state = STOP;
      return client.register;
    },
    clean: 0xa5a5a5a0,
    buggy: 0,
  },
  "accepts-101": { probe: steps(5), clean: ["EINVAL", RUNNING], buggy: ["done", 5] },
  "accepts-111": { probe: steps(7), clean: ["EINVAL", RUNNING], buggy: ["done", 7] },
  "refused-write-stops": { probe: steps(5), clean: ["EINVAL", RUNNING], buggy: ["EINVAL", STOP] },
  "error-written": {
    on: "trapped?size=64KiB&fault=error-state:1",
    probe: (client) => {
      set(client, STOP);
      return [client.register & 7, set(client, RUNNING), client.register & 7];
    },
    clean: [ERROR, "EIO", ERROR],
    buggy: [ERROR, "done", RUNNING],
  },
  "precopy-refused": {
    probe: steps(PRE_COPY),
    clean: ["done", PRE_COPY],
    buggy: ["EINVAL", RUNNING],
  },
  "precopy-kept": {
    probe: steps(PRE_COPY, RUNNING),
    clean: ["done", RUNNING],
    buggy: ["EINVAL", PRE_COPY],
  },
  "precopy-to-end": {
    probe: steps(PRE_COPY, STOP_AND_COPY),
    clean: ["done", STOP_AND_COPY],
    buggy: ["EINVAL", PRE_COPY],
  },
  "register-lags": {
    probe: (client) => {
      client.state = STOP;
      return [client.register & 7, client.register & 7];
    },
    clean: [STOP, STOP],
    buggy: [RUNNING, STOP],
  },
  "only-from-precopy": {
    probe: steps(STOP_AND_COPY),
    clean: ["done", STOP_AND_COPY],
    buggy: ["EINVAL", RUNNING],
  },
  "stop-refused": { probe: steps(STOP), clean: ["done", STOP], buggy: ["EINVAL", RUNNING] },
  "v1-reset-ignored": {
    probe: (client) => {
      client.state = STOP;
      client.reset();
      return client.state;
    },
    clean: RUNNING,
    buggy: STOP,
  },
  "v1-reset-busy": {
    probe: (client) => {
      client.state = STOP;
      return said(() => client.reset());
    },
    clean: "done",
    buggy: "EBUSY",
  },

  "halves-readable": {
    probe: (client) => {
      client.state = STOP_AND_COPY;
      return said(() =>
        new DataView(client.readRaw(PENDING_BYTES, 4).slice().buffer).getUint32(0, true)
      );
    },
    clean: "EINVAL",
    buggy: 65536 + 32,
  },
  "byte-written": {
    probe: (client) => {
      const answer = said(() => client.writeRaw(DEVICE_STATE, new Uint8Array([0xa0])));
      return [answer, client.state];
    },
    clean: ["EINVAL", RUNNING],
    buggy: [1, STOP],
  },
  "pending-writable": {
    probe: (client) => said(() => client.writeRaw(PENDING_BYTES, bytes(8))),
    clean: "EINVAL",
    buggy: 8,
  },
  "offset-writable": {
    probe: (client) => said(() => client.writeRaw(DATA_OFFSET, bytes(8))),
    clean: "EINVAL",
    buggy: 8,
  },
  "offset-outside": { probe: first("offset"), clean: 4096, buggy: REGION },
  "size-outside": { probe: first("size"), clean: 16384, buggy: REGION },
  "data-unaligned": { on: MAPPED, probe: first("offset"), clean: 4096, buggy: 4104 },
  "size-zero": {
    probe: (client) => {
      client.state = STOP_AND_COPY;
      return [transaction(client), transaction(client), transaction(client)].map(({ size }) =>
        size
      );
    },
    clean: [16384, 16384, 16384],
    buggy: [0, 16384, 0],
  },
  "pending-stays": { probe: atEnd, clean: [0, 0], buggy: [4096, 4096] },
  "pending-returns": { probe: atEnd, clean: [0, 0], buggy: [0, 4096] },
  "taken-late": {
    probe: (client) => {
      client.state = RESUMING;
      const [data] = DATA;
      client.put(data!);
      // The transaction is the device's now.
      return said(() => client.writeRaw(4096, bytes(8)));
    },
    clean: "EINVAL",
    buggy: 8,
  },
  "partial-accepted": {
    probe: restored(1),
    clean: ["done", "EINVAL"],
    buggy: ["done", "done"],
  },
  "pending-drops": { probe: bytesWith("pending"), clean: TOTAL, buggy: 16384 + 16384 },
  "offset-advances": {
    probe: (client) => said(() => bytesWith("dataOffset")(client)),
    clean: TOTAL,
    // The last transaction is skipped too.
    buggy: "EINVAL",
  },
  "size-once": {
    probe: (client) => {
      client.state = STOP_AND_COPY;
      client.pending;
      client.dataOffset;
      return [client.dataSize, client.dataSize];
    },
    clean: [16384, 16384],
    buggy: [16384, 0],
  },
  "offset-zero": { probe: first("offset"), clean: 4096, buggy: 0 },
  "reserved-stores": {
    probe: (client) => {
      client.writeRaw(RESERVED, new Uint8Array([1, 2, 3, 4]));
      return [...client.readRaw(RESERVED, 4)];
    },
    clean: [0, 0, 0, 0],
    buggy: [1, 2, 3, 4],
  },
  "v1-restore-spoils": {
    probe: (client) => {
      restored(DATA.length)(client);
      using other = new V1BugClient(PLAIN);
      return client.device.checksum() === other.device.checksum();
    },
    clean: true,
    buggy: false,
  },
  "size-unchecked": {
    probe: (client) => {
      client.state = RESUMING;
      client.dataOffset;
      return [said(() => client.write64(DATA_SIZE, BigInt(2 * REGION))), set(client, RUNNING)];
    },
    clean: ["EINVAL", "EINVAL"],
    buggy: ["done", "done"],
  },
  "v1-precopy-loses": {
    probe: (client) => {
      client.state = PRE_COPY;
      client.state = STOP_AND_COPY;
      return client.pending > 65536;
    },
    clean: true,
    buggy: false,
  },
  "v1-precopy-stops-dma": {
    on: "trapped?size=4KiB&dma=sequential:10/s",
    probe: (client) =>
      writesAfter(client, () => {
        client.state = PRE_COPY;
      }),
    clean: 10,
    buggy: 0,
  },
  "v1-saves-run-out": {
    probe: (client) => {
      for (let turn = 0; turn < 100; turn += 1) {
        client.state = STOP_AND_COPY;
        client.state = RUNNING;
      }
      return set(client, STOP_AND_COPY);
    },
    clean: "done",
    buggy: "ENOMEM",
  },
  "v1-restores-run-out": {
    probe: (client) => {
      for (let turn = 0; turn < 100; turn += 1) {
        client.state = RESUMING;
        client.reset();
      }
      return set(client, RESUMING);
    },
    clean: "done",
    buggy: "ENOMEM",
  },
} as const satisfies Record<string, BugCase<V1BugClient>>;
