/**
 * A client of a served device: measures it, and prints microseconds of a GET of the state, and the
 * bytes and seconds of its migration data. Arguments: the socket.
 */

import process from "node:process";
import { O_RDWR } from "../../src/kernel/kernel.ts";
import {
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
  VFIO_DEVICE_FEATURE_SET,
  VFIO_DEVICE_STATE_RUNNING,
  VFIO_DEVICE_STATE_STOP,
  VFIO_DEVICE_STATE_STOP_COPY,
  vfioDeviceFeature,
  vfioDeviceFeatureMigState,
} from "../../src/uapi/mod.ts";
import { VfioUserKernel } from "../../src/vfio_user/mod.ts";

const WARM = 3000;
const TURNS = 5000;
const CHUNK = 1 << 20;

const path = process.argv[2]!;
const kernel = new VfioUserKernel(path);
const fd = kernel.open(path, O_RDWR);

function setState(device_state: number): number {
  const argument = vfioDeviceFeature.pack({
    flags: VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
    data: vfioDeviceFeatureMigState.pack({ device_state, data_fd: -1 }),
  });
  kernel.ioctl(fd, VFIO_DEVICE_FEATURE, argument);
  return vfioDeviceFeatureMigState.unpack(argument, 8).data_fd;
}

const get = vfioDeviceFeature.pack({
  flags: VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
  data: vfioDeviceFeatureMigState.pack({}),
});
let begun = 0;
for (let turn = 0; turn < WARM + TURNS; turn++) {
  if (turn === WARM) begun = performance.now();
  kernel.ioctl(fd, VFIO_DEVICE_FEATURE, get);
}
const microseconds = (performance.now() - begun) * 1000 / TURNS;

setState(VFIO_DEVICE_STATE_STOP);
const data = setState(VFIO_DEVICE_STATE_STOP_COPY);
const into = new Uint8Array(CHUNK);
let bytes = 0;
begun = performance.now();
for (let count = 1; count > 0; bytes += count) count = kernel.read(data, into);
const seconds = (performance.now() - begun) / 1000;
setState(VFIO_DEVICE_STATE_RUNNING);
kernel.close(data);
kernel.close(fd);
console.log(`${microseconds} ${bytes} ${seconds}`);
