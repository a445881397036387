/** How the bugs of save fds show. */

import { POLLIN } from "../../../src/kernel/kernel.ts";
import { PRE_COPY, RESUMING, RUNNING, STOP, STOP_COPY } from "../../../src/sim/v2/v2_states.ts";
import { napsOf } from "../../_virtual_clock.ts";
import { type BugCase, said } from "./_case.ts";
import type { V2BugClient } from "./_clients.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const read = (client: V2BugClient, length = 100): unknown =>
  said(() => client.kernel.read(client.data, new Uint8Array(length)));

/** What the read at the end, and the one after it, give. */
function atEnd(client: V2BugClient): unknown {
  client.go(STOP_COPY);
  let last: unknown = 1;
  while (typeof last === "number" && last > 0) last = read(client, 4096);
  return [last, read(client)];
}

/** The data of STOP_COPY, read by so many bytes at a time. */
function saved(client: V2BugClient, length: number): Bytes {
  client.go(STOP_COPY);
  const data = client.readAll(length);
  client.closeData();
  client.go(RUNNING);
  return data;
}

/** Whether reads of a size give what large reads do. */
const sameBy = (length: number) => (client: V2BugClient): unknown =>
  Buffer.compare(saved(client, 65536), saved(client, length)) === 0;

/** What a read of an old fd gives after the device runs again. */
function afterwards(client: V2BugClient): unknown {
  client.go(STOP_COPY);
  read(client);
  client.go(RUNNING);
  return read(client);
}

const polled = (client: V2BugClient): boolean => (client.ready & POLLIN) !== 0;

export const V2_SAVE_CASES = {
  "fd-positions": {
    probe: (client) => {
      client.go(STOP_COPY);
      return said(() => client.kernel.pread(client.data, new Uint8Array(8), 0));
    },
    clean: "ESPIPE",
    buggy: 8,
  },
  "fd-leaks": {
    probe: (client) => {
      const before = client.kernel.openObjects.length;
      saved(client, 65536);
      return client.kernel.openObjects.length - before;
    },
    clean: 0,
    buggy: 1,
  },
  "saves-run-out": {
    probe: (client) => {
      for (let save = 0; save < 100; save += 1) client.go(STOP_COPY, RUNNING);
      return said(() => client.go(STOP_COPY));
    },
    clean: "done",
    buggy: "ENOMEM",
  },
  "end-fails": { probe: atEnd, clean: [0, 0], buggy: ["EIO", "EIO"] },
  "end-repeats": { probe: atEnd, clean: [0, 0], buggy: [0, 16] },
  "end-enomsg": { probe: atEnd, clean: [0, 0], buggy: ["ENOMSG", "ENOMSG"] },
  "end-unpolled": {
    probe: (client) => {
      client.go(STOP_COPY);
      client.readAll();
      return polled(client);
    },
    clean: true,
    buggy: false,
  },
  "read-loses-rest": { probe: sameBy(63), clean: true, buggy: false },
  "small-read-zeroed": { probe: sameBy(15), clean: true, buggy: false },
  "changes-while-stopped": { probe: sameBy(65536), clean: true, buggy: false },
  "old-fd-data": { probe: afterwards, clean: "ENODEV", buggy: 16 },
  "old-fd-end": { probe: afterwards, clean: "ENODEV", buggy: 0 },
  "old-fd-blocks": {
    probe: (client) => {
      client.go(STOP_COPY, RUNNING);
      return said(() => client.go(STOP_COPY));
    },
    clean: "done",
    buggy: "EBUSY",
  },
  "poll-silent": {
    probe: (client) => {
      client.go(STOP_COPY);
      return polled(client);
    },
    clean: true,
    buggy: false,
  },
  "first-read-eagain": {
    probe: (client) => {
      client.go(STOP_COPY);
      return [read(client), read(client)];
    },
    clean: [100, 100],
    buggy: ["EAGAIN", 100],
  },
  "eintr-loses": {
    probe: (client) => {
      client.go(STOP_COPY);
      return Array.from({ length: 11 }, () => read(client)).slice(8);
    },
    clean: [100, 100, 100],
    buggy: [100, "EINTR", 100],
  },
  "early-close": {
    probe: (client) => {
      client.go(STOP_COPY);
      read(client);
      client.closeData();
      return said(() => client.go(STOP));
    },
    clean: "done",
    buggy: "EIO",
  },
  "save-fd-written": {
    probe: (client) => {
      client.go(STOP_COPY);
      return said(() => client.write(new Uint8Array(7)));
    },
    clean: "EBADF",
    buggy: 7,
  },
  "resume-fd-read": {
    probe: (client) => {
      client.go(RESUMING);
      return read(client);
    },
    clean: "EBADF",
    buggy: 0,
  },
  "sessions-slower": {
    probe: (client) =>
      napsOf(() => {
        for (let save = 0; save < 5; save += 1) client.go(STOP_COPY, RUNNING);
      }),
    clean: [],
    buggy: [0, 5, 10, 15, 20],
  },
  "stop-copy-headless": {
    probe: (client) => {
      const data = saved(client, 65536);
      client.go(RESUMING);
      return said(() => client.writeAll(data));
    },
    clean: "done",
    buggy: "EINVAL",
  },
  "precopy-loses": {
    on: "mlx5?size=64KiB&chunk=16KiB&rate=40KiB",
    probe: (client) => {
      client.go(PRE_COPY);
      let bytes = 0;
      while (client.info().initial > 0) bytes += client.read(65536).length;
      client.clock.now += 1000;
      client.go(STOP_COPY);
      return client.readAll().length > 4096;
    },
    clean: true,
    buggy: false,
  },
  "refusal-ends-fd": {
    probe: (client) => {
      client.go(STOP_COPY);
      return [said(() => client.go(PRE_COPY)), read(client)];
    },
    clean: ["EINVAL", 100],
    buggy: ["EINVAL", "ENODEV"],
  },
  "same-state-ends-fd": {
    probe: (client) => {
      client.go(STOP_COPY, STOP_COPY);
      return read(client);
    },
    clean: 100,
    buggy: "ENODEV",
  },
  "fd-outlives-close": {
    probe: (client) => {
      client.go(STOP_COPY);
      const old = client.data;
      client.data = -1;
      client.close();
      const answer = said(() => client.kernel.read(old, new Uint8Array(100)));
      client.kernel.close(old);
      return answer;
    },
    clean: "ENODEV",
    buggy: 16,
  },
} as const satisfies Record<string, BugCase<V2BugClient>>;
