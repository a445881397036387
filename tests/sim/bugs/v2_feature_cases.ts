/** How the bugs of VFIO_DEVICE_FEATURE show. */

import {
  VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP,
  VFIO_DEVICE_FEATURE_GET as GET,
  VFIO_DEVICE_FEATURE_MIG_DATA_SIZE,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
  VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2,
  VFIO_DEVICE_FEATURE_MIGRATION,
  VFIO_DEVICE_FEATURE_PROBE as PROBE,
  VFIO_DEVICE_FEATURE_SET as SET,
  vfioDeviceFeatureMigState,
} from "../../../src/uapi/mod.ts";
import { RUNNING, STOP, STOP_COPY } from "../../../src/sim/v2/v2_states.ts";
import { type BugCase, said } from "./_case.ts";
import type { V2BugClient } from "./_clients.ts";

/** The answer to a feature call. */
const feature = (flags: number, payload = 8, argsz?: number) => (client: V2BugClient): unknown =>
  said(() => void client.feature(flags, payload, argsz));

const STATE = VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE;
const UNKNOWN_FLAG = 1 << 20;
const UNKNOWN_FEATURE = 200;
/** Where the configuration space lies in the device's file. */
const CONFIG = 7 * 2 ** 40;
const ALL_FLAGS = 7;

export const V2_FEATURE_CASES = {
  "argsz-unchecked": {
    probe: feature(GET | VFIO_DEVICE_FEATURE_MIGRATION, 8, 4),
    clean: "EINVAL",
    buggy: "done",
  },
  "flags-unchecked": {
    probe: feature(GET | UNKNOWN_FLAG | VFIO_DEVICE_FEATURE_MIGRATION),
    clean: "EINVAL",
    buggy: "done",
  },
  "get-and-set": { probe: feature(GET | SET | STATE), clean: "EINVAL", buggy: "done" },
  "no-operation": { probe: feature(STATE), clean: "EINVAL", buggy: "done" },
  "unknown-feature": { probe: feature(GET | UNKNOWN_FEATURE), clean: "ENOTTY", buggy: "done" },
  "payload-unchecked": { probe: feature(GET | STATE, 8, 12), clean: "EINVAL", buggy: "done" },
  "state-unprobed": { probe: feature(PROBE | GET | STATE), clean: "done", buggy: "ENOTTY" },
  "flags-settable": {
    probe: feature(SET | VFIO_DEVICE_FEATURE_MIGRATION),
    clean: "EINVAL",
    buggy: "done",
  },
  "flags-unknown": { probe: ({ flags }) => flags, clean: ALL_FLAGS, buggy: ALL_FLAGS | 256 },
  "flags-without-stop-copy": { probe: ({ flags }) => flags, clean: ALL_FLAGS, buggy: 6 },
  "flags-change": {
    probe: (client) => {
      const { flags } = client;
      client.go(STOP);
      return [flags, client.flags];
    },
    clean: [ALL_FLAGS, ALL_FLAGS],
    buggy: [ALL_FLAGS, 1],
  },
  "get-gives-fd": {
    probe: (client) => {
      const answer = client.feature(GET | STATE, 8);
      return vfioDeviceFeatureMigState.unpack(answer).data_fd;
    },
    clean: -1,
    buggy: 0,
  },
  "opens-stopped": { probe: ({ v2State }) => v2State, clean: RUNNING, buggy: STOP },
  "data-size-while-running": {
    probe: (client) => {
      const running = client.dataSize;
      client.go(STOP);
      return [running, said(() => client.dataSize)];
    },
    clean: [65536, 65536],
    buggy: [65536, "EINVAL"],
  },
  "precopy-info-v2-always": {
    on: "pds?reinit=0",
    probe: feature(SET | VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2, 0),
    clean: "EINVAL",
    buggy: "done",
  },
  "log-without-stop": {
    probe: feature(PROBE | SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP, 0),
    clean: "done",
    buggy: "ENOTTY",
  },
  "config-unreadable": {
    probe: (client) => {
      const read = (): unknown =>
        said(() => client.kernel.pread(client.fd, new Uint8Array(4), CONFIG));
      const running = read();
      client.go(STOP_COPY);
      return [running, read()];
    },
    clean: [4, 4],
    buggy: [4, "EIO"],
  },
  "data-size-zero": { probe: ({ dataSize }) => dataSize, clean: 65536, buggy: 0 },
  "data-size-small": { probe: ({ dataSize }) => dataSize, clean: 65536, buggy: 655 },
  "data-size-huge": { probe: ({ dataSize }) => dataSize, clean: 65536, buggy: 65536000 },
  "set-takes-no-fd": {
    probe: (client) => {
      const payload = vfioDeviceFeatureMigState.pack({ device_state: STOP, data_fd: 1 });
      return said(() => void client.feature(SET | STATE, payload));
    },
    clean: "done",
    buggy: "EINVAL",
  },
  "state-busy": {
    probe: (client) => {
      client.go(STOP_COPY);
      return said(() => client.v2State);
    },
    clean: STOP_COPY,
    buggy: "EBUSY",
  },
  "size-settable": {
    probe: feature(SET | VFIO_DEVICE_FEATURE_MIG_DATA_SIZE),
    clean: "EINVAL",
    buggy: "done",
  },
  "argsz-exact": {
    probe: (client) => [feature(GET | STATE, 9)(client), feature(GET | STATE, 8)(client)],
    clean: ["done", "done"],
    buggy: ["EINVAL", "done"],
  },
  "probe-acts": {
    probe: (client) => {
      client.feature(
        PROBE | SET | STATE,
        vfioDeviceFeatureMigState.pack({ device_state: STOP, data_fd: -1 }),
      );
      return client.v2State;
    },
    clean: RUNNING,
    buggy: STOP,
  },
} as const satisfies Record<string, BugCase<V2BugClient>>;
