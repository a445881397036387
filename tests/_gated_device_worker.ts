/** A device's thread whose simulated driver can be held at a gate. */

import { workerData } from "node:worker_threads";
import { serveDevice } from "../src/migration/thread/serve_device.ts";
import { holdAt } from "./_gate.ts";

holdAt(workerData as SharedArrayBuffer);
serveDevice();
