/** The clients of the probes; each device has a clock that the probe moves. */

import { SimKernel } from "../../../src/sim/mod.ts";
import { Client } from "../_client.ts";
import { V2Client } from "../_v2_client.ts";

class Clock {
  now = 0;
}

/** A v2 client. */
export class V2BugClient extends V2Client {
  readonly clock: Clock;

  constructor(spec: string) {
    const clock = new Clock();
    super(SimKernel.withClock(() => clock.now, spec));
    this.clock = clock;
  }
}

/** A v1 client. */
export class V1BugClient extends Client {
  readonly clock: Clock;

  constructor(spec: string) {
    const clock = new Clock();
    super(SimKernel.withClock(() => clock.now, spec));
    this.clock = clock;
  }
}
