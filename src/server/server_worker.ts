/**
 * The thread of a server: it waits for clients and calls the device.
 */

import { parentPort, workerData } from "node:worker_threads";
import { runServer, type ThreadRequest } from "./server_thread.ts";

runServer(workerData as ThreadRequest, (message) => parentPort!.postMessage(message));
