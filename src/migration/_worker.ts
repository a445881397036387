/** The Worker that a device gets where the caller brings none. */

import { serveDevice } from "./serve.ts";

serveDevice();
