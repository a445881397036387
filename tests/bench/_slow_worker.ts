/** The thread of a device that takes its time: its kernel is a {@linkcode SlowKernel}. */

import { serveDevice } from "../../src/migration/thread/serve_device.ts";
import { SLOW, SlowKernel } from "./_slow_kernel.ts";

serveDevice(new SlowKernel(SLOW));
