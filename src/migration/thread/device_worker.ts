/**
 * The Worker that a device gets if the caller brings none. The one file
 * here that looks upwards: nothing imports it, it puts a thread together.
 */

import { serveDevice } from "./serve_device.ts";

serveDevice();
