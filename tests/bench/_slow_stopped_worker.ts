/** The thread of a device that takes its time, and gives nothing while it runs. */

import { serveDevice } from "../../src/migration/thread/serve_device.ts";
import { SLOW_WITHOUT_PRECOPY, SlowKernel } from "./_slow_kernel.ts";

serveDevice(new SlowKernel(SLOW_WITHOUT_PRECOPY));
