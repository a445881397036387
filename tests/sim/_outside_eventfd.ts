/** An eventfd outside the simulation, in memory. */

import type { OutsideEventfd } from "../../src/sim/os/outside.ts";

/** Counts, and can be signalled from outside while the device waits for that. */
export class FakeEventfd implements OutsideEventfd {
  /** How often the device signalled it. */
  signals = 0;
  /** How often it was released: never, or once. */
  releases = 0;
  /** What the device does once it is signalled; null if it does not wait for that. */
  signalled: (() => void) | null = null;

  signal(): void {
    this.signals += 1;
  }

  watch(signalled: (() => void) | null): void {
    this.signalled = signalled;
  }

  released(): void {
    this.releases += 1;
  }
}
