/** How the bugs of restoring, of reset and of ERROR show on a v2 device. */

import { ERROR, RESUMING, RUNNING, STOP, STOP_COPY } from "../../../src/sim/v2/v2_states.ts";
import { type BugCase, said } from "./_case.ts";
import { V2BugClient } from "./_clients.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** The data of another device. */
function dataOf(spec: string): Bytes {
  using client = new V2BugClient(spec);
  client.go(STOP_COPY);
  return client.readAll();
}

const PLAIN = "mlx5?size=64KiB&chunk=16KiB&seed=7";
const DATA = dataOf(PLAIN);

/** Writes data; returns the answers of the writes and of the step to STOP. */
const restored = (data: Bytes, length = 65536) => (client: V2BugClient): unknown => {
  client.go(RESUMING);
  const written = said(() => client.writeAll(data, length));
  return [written, said(() => client.go(STOP))];
};

/** Whether the device has the state of the other one. */
function sameState(client: V2BugClient): unknown {
  restored(DATA)(client);
  using other = new V2BugClient(PLAIN);
  return client.device.checksum() === other.device.checksum();
}

const withDamage = (at: number): Bytes => {
  const data = DATA.slice();
  data[at]! ^= 0xff;
  return data;
};

const more = (bytes: number): Bytes => {
  const data = new Uint8Array(DATA.length + bytes);
  data.set(DATA);
  return data;
};

/** The state after a reset, which may fail, in a state. */
const resetIn = (state: number) => (client: V2BugClient): unknown => {
  client.go(state);
  return [said(() => client.reset()), client.v2State];
};

/** Enters ERROR, which the spec's fault leads to. */
const IN_ERROR = "mlx5?size=64KiB&fault=error-state:1";

function toError(client: V2BugClient): void {
  said(() => client.go(STOP));
}

export const V2_RESTORE_CASES = {
  "restore-spoils": { probe: sameState, clean: true, buggy: false },
  "restore-ignored": { probe: sameState, clean: true, buggy: false },
  "write-sixteen": {
    probe: restored(DATA, 15),
    clean: ["done", "done"],
    buggy: ["EINVAL", "EINVAL"],
  },
  "write-loses-rest": { probe: restored(DATA), clean: ["done", "done"], buggy: ["done", "EINVAL"] },
  "cut-accepted": {
    probe: restored(DATA.slice(0, -100)),
    clean: ["done", "EINVAL"],
    buggy: ["done", "done"],
  },
  "nothing-accepted": {
    probe: restored(new Uint8Array(0)),
    clean: ["done", "EINVAL"],
    buggy: ["done", "done"],
  },
  "damage-accepted": {
    // The first byte of the first transaction, behind the record of the size.
    probe: restored(withDamage(40)),
    clean: ["EINVAL", "EINVAL"],
    buggy: ["done", "done"],
  },
  "excess-accepted": {
    probe: restored(more(10)),
    clean: ["EINVAL", "done"],
    buggy: ["done", "done"],
  },
  "foreign-accepted": {
    probe: restored(dataOf("mlx5?size=128KiB&chunk=16KiB")),
    clean: ["EINVAL", "EINVAL"],
    buggy: ["done", "done"],
  },
  "refused-write-forgotten": {
    probe: restored(withDamage(40)),
    clean: ["EINVAL", "EINVAL"],
    buggy: ["EINVAL", "done"],
  },
  "late-write": {
    probe: (client) => {
      restored(DATA)(client);
      return said(() => client.write(new Uint8Array(9)));
    },
    clean: "ENODEV",
    buggy: 9,
  },
  "reset-keeps-resuming": {
    probe: resetIn(RESUMING),
    clean: ["done", RUNNING],
    buggy: ["done", RESUMING],
  },
  "reset-stops": { probe: resetIn(STOP_COPY), clean: ["done", RUNNING], buggy: ["done", STOP] },
  "reset-busy": {
    probe: resetIn(STOP_COPY),
    clean: ["done", RUNNING],
    buggy: ["EBUSY", STOP_COPY],
  },
  "reset-while-running": {
    probe: resetIn(RUNNING),
    clean: ["done", RUNNING],
    buggy: ["EBUSY", RUNNING],
  },
  "reset-keeps-fd": {
    probe: (client) => {
      client.go(STOP_COPY);
      client.reset();
      return said(() => client.read(10).length);
    },
    clean: "ENODEV",
    buggy: 10,
  },
  "error-left": {
    on: IN_ERROR,
    probe: (client) => {
      toError(client);
      return [client.v2State, said(() => client.go(RUNNING)), client.v2State];
    },
    clean: [ERROR, "EINVAL", ERROR],
    buggy: [ERROR, "done", RUNNING],
  },
  "reset-keeps-error": {
    on: IN_ERROR,
    probe: (client) => {
      toError(client);
      return [said(() => client.reset()), client.v2State];
    },
    clean: ["done", RUNNING],
    buggy: ["done", ERROR],
  },
  "restores-run-out": {
    probe: (client) => {
      for (let turn = 0; turn < 100; turn += 1) {
        client.go(RESUMING);
        client.reset();
      }
      return said(() => client.go(RESUMING));
    },
    clean: "done",
    buggy: "ENOMEM",
  },
  "reset-keeps-data": {
    probe: (client) => {
      client.go(RESUMING);
      client.write(DATA.subarray(0, 7));
      client.reset();
      return restored(DATA)(client);
    },
    clean: ["done", "done"],
    buggy: ["ENOMEM", "EINVAL"],
  },
  "run-undoes-restore": {
    probe: (client) => {
      const stopped = sameState(client);
      client.go(RUNNING);
      using other = new V2BugClient(PLAIN);
      return [stopped, client.device.checksum() === other.device.checksum()];
    },
    clean: [true, true],
    buggy: [true, false],
  },
  "resume-precopy-info": {
    probe: (client) => {
      client.go(RESUMING);
      return said(() => client.info().initial);
    },
    clean: "ENOTTY",
    buggy: 0,
  },
  "reset-blocks-saves": {
    probe: (client) => {
      client.go(STOP_COPY);
      client.reset();
      return said(() => client.go(STOP_COPY));
    },
    clean: "done",
    buggy: "EBUSY",
  },
} as const satisfies Record<string, BugCase<V2BugClient>>;
