/** A device's thread whose driver takes some data, and then is not ready for more, for good. */

import { serveDevice } from "../../src/migration/thread/serve_device.ts";
import { ERRNO } from "../../src/kernel/errno_names.ts";
import { SysError } from "../../src/kernel/sys_error.ts";
import type { Kernel } from "../../src/kernel/kernel.ts";
import { SimKernel } from "../../src/sim/mod.ts";

let writes = 0;

serveDevice(
  new Proxy<Kernel>(new SimKernel("mlx5?size=1MiB&seed=2"), {
    get(target, key): unknown {
      if (key === "write" && writes++ > 0) {
        return () => {
          throw new SysError("write", ERRNO.EAGAIN);
        };
      }
      const value = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  }),
);
