/** How the bugs that devices of both protocols can have show. */

import {
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_GROUP_GET_DEVICE_FD,
  vfioDeviceInfo,
  vfioIrqInfo,
  vfioRegionInfo,
} from "../../../src/uapi/mod.ts";
import { Client, RUNNING, STOP, STOP_AND_COPY, text } from "../_client.ts";
import {
  RUNNING as V2_RUNNING,
  STOP as V2_STOP,
  STOP_COPY as V2_STOP_COPY,
} from "../../../src/sim/v2/v2_states.ts";
import { type BugCase, said } from "./_case.ts";
import { type V1BugClient, V2BugClient } from "./_clients.ts";
import { writesAfter } from "./_dma.ts";

type Either = V1BugClient | V2BugClient;

const DMA = "size=4KiB&dma=sequential:10/s";

function goTo(client: Either, v1: number, v2: number): void {
  if (client instanceof V2BugClient) client.go(v2);
  else client.state = v1;
}

/** Whether the device writes to memory in a state. */
const writesIn = (v1: number, v2: number) => (client: Either): unknown =>
  writesAfter(client, () => goTo(client, v1, v2)) > 0;

/** The info of a region. */
const info = (index: number, argsz: number = vfioRegionInfo.size) => (client: Either): unknown => {
  const arg = vfioRegionInfo.pack({ index });
  new DataView(arg.buffer).setUint32(0, argsz, true);
  return said(() => {
    client.kernel.ioctl(client.fd, 0x3b6c, arg);
    return vfioRegionInfo.unpack(arg, 0);
  });
};

/** The answer to VFIO_DEVICE_GET_IRQ_INFO. */
const irq = (index: number, argsz: number = vfioIrqInfo.size) => (client: Either): unknown => {
  const arg = vfioIrqInfo.pack({ index });
  new DataView(arg.buffer).setUint32(0, argsz, true);
  return said(() => void client.kernel.ioctl(client.fd, VFIO_DEVICE_GET_IRQ_INFO, arg));
};

const field = (
  name: "offset" | "index",
  ask: (client: Either) => unknown,
) =>
(client: Either): unknown => {
  const answer = ask(client);
  return typeof answer === "string" ? answer : (answer as Record<string, unknown>)[name];
};

function deviceInfo(client: Either): { flags: number; num_regions: number } {
  const arg = vfioDeviceInfo.pack({});
  client.kernel.ioctl(client.fd, VFIO_DEVICE_GET_INFO, arg);
  return vfioDeviceInfo.unpack(arg);
}

export const DEVICE_CASES = {
  "close-keeps-state": {
    probe: (client) => {
      goTo(client, STOP, V2_STOP);
      client.kernel.close(client.fd);
      const fd = client.kernel.ioctl(
        client.group,
        VFIO_GROUP_GET_DEVICE_FD,
        text(client.device.path),
      );
      const state = client.device.deviceState! & 7;
      // The client closes the number that it had.
      if (fd !== client.fd) client.kernel.dup3(fd, client.fd);
      return state === (client instanceof Client ? 1 : 2);
    },
    clean: true,
    buggy: false,
  },
  "dma-in-stop": { on: DMA, probe: writesIn(STOP, V2_STOP), clean: false, buggy: true },
  "dma-in-stop-copy": {
    on: DMA,
    probe: writesIn(STOP_AND_COPY, V2_STOP_COPY),
    clean: false,
    buggy: true,
  },
  "region-info-argsz": { probe: field("index", info(0, 31)), clean: "EINVAL", buggy: 0 },
  "region-index": { probe: field("index", info(77)), clean: "EINVAL", buggy: 77 },
  "regions-overlap": {
    probe: field("offset", info(0)),
    clean: 0n,
    buggy: 7n << 40n,
  },
  "info-changes": {
    probe: (client) => deviceInfo(client).num_regions === deviceInfo(client).num_regions,
    clean: true,
    buggy: false,
  },
  "no-reset-flag": { probe: (client) => deviceInfo(client).flags, clean: 3, buggy: 2 },
  "stays-quiet": {
    on: DMA,
    probe: (client) =>
      writesAfter(client, () => {
        goTo(client, STOP, V2_STOP);
        goTo(client, RUNNING, V2_RUNNING);
      }),
    clean: 10,
    buggy: 0,
  },
  "irq-info-argsz": { probe: irq(0, 15), clean: "EINVAL", buggy: "done" },
  "irq-index": { probe: irq(77), clean: "EINVAL", buggy: "done" },
} as const satisfies Record<string, BugCase<Either>>;
