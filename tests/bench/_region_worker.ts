/** The thread of a device that is a file: its kernel is a {@linkcode RegionKernel}. */

import { libcKernel } from "../../src/kernel/libc/libc_kernel.ts";
import { serveDevice } from "../../src/migration/thread/serve_device.ts";
import { RegionKernel } from "./_region_kernel.ts";
import { REGION_SIZE } from "./_region_file.ts";

serveDevice(new RegionKernel(libcKernel(), REGION_SIZE));
