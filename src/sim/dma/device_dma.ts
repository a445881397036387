/**
 * A device's side of the IOMMU: its DMA, and the faults of memory requests.
 */

import { DmaEngine } from "./dma_engine.ts";
import type { Dma } from "../iommu/dma_list.ts";
import type { DmaLog } from "./dma_log.ts";
import type { FaultEvent, FaultPlan } from "../faults/fault_plan.ts";
import type { DmaTarget, IommuMember } from "../iommu/iommu_member.ts";
import { refuse } from "../os/refusal.ts";
import type { SimSpec } from "../spec.ts";

/** What a {@linkcode DeviceDma} is made of. */
export interface DeviceDmaParts {
  /** How the device reaches memory. */
  readonly spec: Pick<SimSpec, "iommu" | "dma" | "pin">;
  /** The seed of its writes. */
  readonly seed: number;
  readonly faults: FaultPlan;
  /** The log of its writes; null without one. */
  readonly log: DmaLog | null;
  /** Whether it writes to memory now. */
  readonly running: () => boolean;
  /** The time, in milliseconds. */
  readonly now: () => number;
}

/** A device's DMA, with the faults that apply to the memory it reaches. */
export class DeviceDma implements IommuMember {
  readonly hardware: boolean;
  readonly tracks: boolean;
  readonly engine: DmaEngine;
  readonly #faults: FaultPlan;
  readonly #log: DmaLog | null;
  readonly #running: () => boolean;

  constructor({ spec: { iommu, dma, pin }, seed, faults, log, running, now }: DeviceDmaParts) {
    this.hardware = iommu !== "pinned";
    this.tracks = iommu === "dirty-tracking";
    this.engine = new DmaEngine(dma, pin, seed, now);
    this.#faults = faults;
    this.#log = log;
    this.#running = running;
  }

  elapse(): void {
    this.engine.elapse(this.#running());
  }

  reach(target: DmaTarget | null): void {
    this.engine.reach(target === null ? null : this.#logged(target));
  }

  #logged(target: DmaTarget): DmaTarget {
    return {
      ...target,
      write: (iova, from) => {
        target.write(iova, from);
        this.#log?.mark(iova, from.length);
      },
    };
  }

  unmapped(dma: Dma): void {
    this.engine.unmapped(dma);
  }

  strike(event: FaultEvent): void {
    for (const { errno } of this.#faults.due(event)) refuse(errno);
  }
}
