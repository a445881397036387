/** The writes of a device to memory, for the probes of bugs. */

import { Type1Client } from "../_type1.ts";
import type { V1BugClient, V2BugClient } from "./_clients.ts";

/** How often the device writes to memory when steps are taken and a second passes. */
export function writesAfter(client: V1BugClient | V2BugClient, steps: () => void): number {
  using type1 = new Type1Client(client);
  type1.map(0, 64);
  const { writes } = client.device.dma;
  steps();
  client.clock.now += 1000;
  type1.unmap(0, 64);
  return client.device.dma.writes - writes;
}
