/**
 * How long a device's thread may wait for a socket.
 */

import type { Device } from "../../migration/device.ts";
import { hasThread } from "../../migration/thread/session_client.ts";

/** In milliseconds. */
const WAIT_MS = 5;

/** Not at all if the thread is needed for other streams, too, or is the caller's; in milliseconds. */
export function socketWaitMs(device: Device, streams: number): number {
  return streams === 1 && hasThread(device) ? WAIT_MS : 0;
}
