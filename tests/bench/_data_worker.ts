/** The thread of a v2 device that is a file: its kernel is a {@linkcode DataKernel}. */

import { serveDevice } from "../../src/migration/thread/serve_device.ts";
import { libcKernel } from "../../src/kernel/libc/libc_kernel.ts";
import { DataKernel } from "./_data_kernel.ts";
import { DATA_SIZE, STATE_BYTES } from "./_region_file.ts";

serveDevice(new DataKernel(libcKernel(), STATE_BYTES, DATA_SIZE));
