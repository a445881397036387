/** How the bugs of the v2 state machine show. */

import {
  ERROR,
  PRE_COPY,
  PRE_COPY_P2P,
  RESUMING,
  RUNNING,
  RUNNING_P2P,
  STOP,
  STOP_COPY,
} from "../../../src/sim/v2/v2_states.ts";
import type { V2BugClient } from "./_clients.ts";
import { writesAfter } from "./_dma.ts";
import { type BugCase, said } from "./_case.ts";

/** The answer to the last SET of several, whether it gave an fd, and the state then. */
const steps = (...states: number[]) => (client: V2BugClient): unknown => {
  client.go(...states.slice(0, -1));
  const answer = said(() => client.go(states.at(-1)!));
  return [answer, client.given, client.v2State];
};

const gives = (...states: number[]) => (client: V2BugClient): unknown => {
  client.go(...states);
  return client.given;
};

/** Whether the data fd of pre-copy still gives data in STOP_COPY. */
function readOn(client: V2BugClient): unknown {
  client.go(PRE_COPY);
  const { data } = client;
  const into = new Uint8Array(100);
  client.kernel.ioctl(client.fd, 0x3b75, stateArg(STOP_COPY));
  return said(() => client.kernel.read(data, into));
}

function stateArg(state: number): Uint8Array<ArrayBuffer> {
  const arg = new Uint8Array(16);
  const view = new DataView(arg.buffer);
  view.setUint32(0, 16, true);
  view.setUint32(4, 1 << 17 | 2, true);
  view.setUint32(8, state, true);
  view.setInt32(12, -1, true);
  return arg;
}

export const V2_STATE_CASES = {
  "stop-copy-to-running": {
    probe: steps(STOP_COPY, RUNNING),
    clean: ["done", false, RUNNING],
    buggy: ["EINVAL", false, STOP_COPY],
  },
  "resuming-to-stop-copy": {
    probe: (client) => {
      client.go(STOP_COPY);
      const data = client.readAll();
      client.go(RESUMING);
      client.writeAll(data);
      return said(() => client.go(STOP_COPY));
    },
    clean: "done",
    buggy: "EINVAL",
  },
  "combined-refused": {
    probe: (client) => [steps(STOP_COPY)(client), said(() => client.go(STOP, STOP_COPY))],
    clean: [["done", true, STOP_COPY], "done"],
    buggy: [["EINVAL", false, RUNNING], "done"],
  },
  "error-accepted": {
    probe: steps(ERROR),
    clean: ["EINVAL", false, RUNNING],
    buggy: ["done", false, ERROR],
  },
  "unknown-state": {
    probe: steps(8),
    clean: ["EINVAL", false, RUNNING],
    buggy: ["done", false, RUNNING],
  },
  "missing-state": {
    on: "pds",
    probe: steps(PRE_COPY),
    clean: ["EINVAL", false, RUNNING],
    buggy: ["done", false, RUNNING],
  },
  "precopy-after-stop-copy": {
    probe: steps(STOP_COPY, PRE_COPY),
    clean: ["EINVAL", false, STOP_COPY],
    buggy: ["done", false, PRE_COPY],
  },
  "refusal-with-eio": {
    probe: steps(STOP_COPY, PRE_COPY),
    clean: ["EINVAL", false, STOP_COPY],
    buggy: ["EIO", false, STOP_COPY],
  },
  "refusal-stops": {
    probe: steps(STOP_COPY, PRE_COPY),
    clean: ["EINVAL", false, STOP_COPY],
    buggy: ["EINVAL", false, STOP],
  },
  "precopy-p2p-after-stop-copy": {
    probe: steps(STOP_COPY, PRE_COPY_P2P),
    clean: ["EINVAL", false, STOP_COPY],
    buggy: ["done", false, PRE_COPY_P2P],
  },
  "same-state-refused": {
    probe: steps(STOP, STOP),
    clean: ["done", false, STOP],
    buggy: ["EINVAL", false, STOP],
  },
  "same-state-fd": { probe: gives(STOP_COPY, STOP_COPY), clean: false, buggy: true },
  "state-lags": {
    probe: (client) => {
      client.go(STOP);
      return [client.v2State, client.v2State];
    },
    clean: [STOP, STOP],
    buggy: [RUNNING, STOP],
  },
  "running-stops-halfway": {
    probe: steps(STOP_COPY, RUNNING),
    clean: ["done", false, RUNNING],
    buggy: ["done", false, RUNNING_P2P],
  },
  "state-drifts": {
    probe: (client) => {
      client.go(STOP);
      const before = client.v2State;
      client.clock.now += 400;
      return [before, client.v2State];
    },
    clean: [STOP, STOP],
    buggy: [STOP, RUNNING],
  },
  "failed-restore-runs": {
    probe: steps(RESUMING, STOP),
    clean: ["EINVAL", false, RESUMING],
    buggy: ["EINVAL", false, RUNNING],
  },
  "precopy-without-fd": { probe: gives(PRE_COPY), clean: true, buggy: false },
  "precopy-p2p-without-fd": { probe: gives(RUNNING_P2P, PRE_COPY_P2P), clean: true, buggy: false },
  "stop-copy-without-fd": { probe: gives(STOP_COPY), clean: true, buggy: false },
  "resuming-without-fd": { probe: gives(RESUMING), clean: true, buggy: false },
  "resuming-gives-save-fd": {
    probe: (client) => {
      client.go(RESUMING);
      return [client.given, said(() => client.read(10).length)];
    },
    clean: [true, "EBADF"],
    buggy: [true, 10],
  },
  "stop-gives-fd": { probe: gives(STOP_COPY, STOP), clean: false, buggy: true },
  "running-gives-fd": { probe: gives(STOP, RUNNING), clean: false, buggy: true },
  "stop-copy-changes-fd": { probe: gives(PRE_COPY, STOP_COPY), clean: false, buggy: true },
  "stop-copy-ends-fd": { probe: readOn, clean: 100, buggy: "ENODEV" },
  "precopy-p2p-changes-fd": { probe: gives(PRE_COPY, PRE_COPY_P2P), clean: false, buggy: true },
  "p2p-to-precopy-p2p": {
    probe: steps(RUNNING_P2P, PRE_COPY_P2P),
    clean: ["done", true, PRE_COPY_P2P],
    buggy: ["EINVAL", false, RUNNING_P2P],
  },
  "precopy-to-precopy-p2p": {
    probe: steps(PRE_COPY, PRE_COPY_P2P),
    clean: ["done", false, PRE_COPY_P2P],
    buggy: ["EINVAL", false, PRE_COPY],
  },
  "precopy-p2p-to-precopy": {
    probe: steps(PRE_COPY_P2P, PRE_COPY),
    clean: ["done", false, PRE_COPY],
    buggy: ["EINVAL", false, PRE_COPY_P2P],
  },
  "p2p-stops-dma": {
    on: "mlx5?size=4KiB&iommu=pinned&dma=sequential:10/s",
    probe: (client) => writesAfter(client, () => client.go(RUNNING_P2P)),
    clean: 10,
    buggy: 0,
  },
} as const satisfies Record<string, BugCase<V2BugClient>>;
