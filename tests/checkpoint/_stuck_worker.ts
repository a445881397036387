/**
 * A device's thread whose driver takes some data, and then is not ready for more, for good. How
 * often it was asked lies in the memory that the thread is started with.
 */

import { workerData } from "node:worker_threads";
import { serveDevice } from "../../src/migration/thread/serve_device.ts";
import { ERRNO } from "../../src/kernel/errno_names.ts";
import { SysError } from "../../src/kernel/sys_error.ts";
import type { Kernel } from "../../src/kernel/kernel.ts";
import { SimKernel } from "../../src/sim/mod.ts";

const writes = new Int32Array(workerData as SharedArrayBuffer);

serveDevice(
  new Proxy<Kernel>(new SimKernel("mlx5?size=1MiB&seed=2"), {
    get(target, key): unknown {
      if (key === "write" && Atomics.add(writes, 0, 1) > 0) {
        return () => {
          throw new SysError("write", ERRNO.EAGAIN);
        };
      }
      const value = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  }),
);
