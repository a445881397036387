/** How the bugs of pre-copy show. */

import { POLLIN } from "../../../src/kernel/kernel.ts";
import { PRE_COPY, PRE_COPY_P2P, RUNNING, STOP_COPY } from "../../../src/sim/v2/v2_states.ts";
import {
  VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2,
  VFIO_DEVICE_FEATURE_SET,
  VFIO_MIG_GET_PRECOPY_INFO,
  vfioPrecopyInfo,
} from "../../../src/uapi/mod.ts";
import { type BugCase, said } from "./_case.ts";
import type { V2BugClient } from "./_clients.ts";
import { writesAfter } from "./_dma.ts";

/** The size of all initial data. */
const INITIAL = 65536 + 24;

const read = (client: V2BugClient, length = 65536): unknown =>
  said(() => client.kernel.read(client.data, new Uint8Array(length)));

/** Reads until no data is left; returns how the last read failed, or 0. */
function drain(client: V2BugClient): unknown {
  let last: unknown = 1;
  while (typeof last === "number" && last > 0) last = read(client);
  return last;
}

const infoIn = (state: number, argsz: number = vfioPrecopyInfo.size) =>
(
  client: V2BugClient,
): unknown => {
  client.go(PRE_COPY);
  if (state !== PRE_COPY) client.go(state);
  const arg = new Uint8Array(argsz);
  new DataView(arg.buffer).setUint32(0, argsz, true);
  return said(() => client.kernel.ioctl(client.data, VFIO_MIG_GET_PRECOPY_INFO, arg));
};

const initials = (client: V2BugClient): unknown => {
  client.go(PRE_COPY);
  const first = client.info();
  read(client, 4096 + 24 + 16);
  return [first.initial, first.dirty, client.info().initial];
};

const polled = (client: V2BugClient): boolean => (client.ready & POLLIN) !== 0;

/** The first precopy info after all data was read. */
function reinit(client: V2BugClient): unknown {
  client.feature(VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2, 0);
  client.go(PRE_COPY);
  client.info();
  drain(client);
  const arg = vfioPrecopyInfo.pack({});
  client.kernel.ioctl(client.data, VFIO_MIG_GET_PRECOPY_INFO, arg);
  const { flags, initial_bytes, dirty_bytes } = vfioPrecopyInfo.unpack(arg);
  return [flags, Number(initial_bytes), Number(dirty_bytes)];
}

export const V2_PRECOPY_CASES = {
  "precopy-info-missing": { probe: infoIn(PRE_COPY), clean: 0, buggy: "ENOTTY" },
  "precopy-info-once": {
    probe: (client) => [infoIn(PRE_COPY)(client), infoIn(PRE_COPY)(client)],
    clean: [0, 0],
    buggy: [0, "EINVAL"],
  },
  "precopy-info-argsz": { probe: infoIn(PRE_COPY, 23), clean: "EFAULT", buggy: 0 },
  "precopy-info-anywhere": { probe: infoIn(STOP_COPY), clean: "EINVAL", buggy: 0 },
  "fd-ioctl": {
    probe: (client) => {
      client.go(PRE_COPY);
      return said(() => client.kernel.ioctl(client.data, 0x3b7f));
    },
    clean: "ENOTTY",
    buggy: 0,
  },
  "initial-zero": {
    probe: initials,
    clean: [INITIAL, 0, 65536 - 4096 + 48],
    buggy: [0, INITIAL, 0],
  },
  "initial-grows": {
    probe: initials,
    clean: [INITIAL, 0, 65536 - 4096 + 48],
    buggy: [INITIAL, 0, 65536 + 48],
  },
  "initial-stays": {
    probe: initials,
    clean: [INITIAL, 0, 65536 - 4096 + 48],
    buggy: [INITIAL, 0, INITIAL],
  },
  "initial-never-zero": {
    probe: (client) => {
      client.go(PRE_COPY);
      drain(client);
      return client.info().initial;
    },
    clean: 0,
    buggy: 4096,
  },
  "dirty-first": {
    probe: initials,
    clean: [INITIAL, 0, 65536 - 4096 + 48],
    buggy: [INITIAL, 4096, 65536 - 4096 + 48],
  },
  "drained-end": {
    probe: (client) => {
      client.go(PRE_COPY);
      return drain(client);
    },
    clean: "ENOMSG",
    buggy: 0,
  },
  "drained-polled": {
    probe: (client) => {
      client.go(PRE_COPY);
      drain(client);
      return polled(client);
    },
    clean: false,
    buggy: true,
  },
  "change-unpolled": {
    on: "mlx5?size=64KiB&chunk=16KiB&rate=40KiB",
    probe: (client) => {
      client.go(PRE_COPY);
      drain(client);
      client.clock.now += 1000;
      client.info();
      return polled(client);
    },
    clean: true,
    buggy: false,
  },
  "precopy-flags": {
    probe: (client) => {
      client.go(PRE_COPY);
      const arg = vfioPrecopyInfo.pack({});
      client.kernel.ioctl(client.data, VFIO_MIG_GET_PRECOPY_INFO, arg);
      return vfioPrecopyInfo.unpack(arg).flags;
    },
    clean: 0,
    buggy: 2,
  },
  "reinit-dirty": {
    on: "mlx5?size=64KiB&chunk=16KiB&reinit=1",
    probe: reinit,
    clean: [1, 65536, 0],
    buggy: [1, 65536, 4096],
  },
  "reinit-empty": {
    on: "mlx5?size=64KiB&chunk=16KiB&reinit=1",
    probe: reinit,
    clean: [1, 65536, 0],
    buggy: [1, 0, 0],
  },
  "precopy-once": {
    probe: (client) => {
      client.go(PRE_COPY, RUNNING);
      return said(() => client.go(PRE_COPY));
    },
    clean: "done",
    buggy: "EBUSY",
  },
  "precopy-counts-half": {
    probe: (client) => {
      client.go(PRE_COPY);
      return client.info().initial;
    },
    clean: INITIAL,
    buggy: INITIAL / 2,
  },
  "precopy-counts-more": {
    probe: (client) => {
      client.go(PRE_COPY);
      client.info();
      const end = drain(client);
      return [end, client.info().dirty];
    },
    clean: ["ENOMSG", 0],
    buggy: ["ENOMSG", 4096],
  },
  "precopy-drops-unread": {
    probe: (client) => {
      client.go(PRE_COPY, STOP_COPY);
      return client.readAll().length > 65536;
    },
    clean: true,
    buggy: false,
  },
  "precopy-goes-on": {
    probe: (client) => {
      const first = (): string => {
        client.go(PRE_COPY);
        return Buffer.from(client.read(64)).toString("hex");
      };
      const begin = first();
      client.go(RUNNING);
      return first() === begin;
    },
    clean: true,
    buggy: false,
  },
  "precopy-end-enomsg": {
    probe: (client) => {
      client.go(PRE_COPY, STOP_COPY);
      return drain(client);
    },
    clean: 0,
    buggy: "ENOMSG",
  },
  "precopy-p2p-dead-fd": {
    probe: (client) => {
      client.go(PRE_COPY, PRE_COPY_P2P);
      return read(client, 64);
    },
    clean: 64,
    buggy: "ENODEV",
  },
  "precopies-run-out": {
    probe: (client) => {
      for (let turn = 0; turn < 100; turn += 1) client.go(PRE_COPY, RUNNING);
      return said(() => client.go(PRE_COPY));
    },
    clean: "done",
    buggy: "ENOMEM",
  },
  "precopy-stops-dma": {
    on: "mlx5?size=4KiB&iommu=pinned&dma=sequential:10/s",
    probe: (client) => writesAfter(client, () => client.go(PRE_COPY)),
    clean: 10,
    buggy: 0,
  },
} as const satisfies Record<string, BugCase<V2BugClient>>;
