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

/** A device's DMA, with the faults that apply to the memory it reaches. */
export class DeviceDma implements IommuMember {
  readonly hardware: boolean;
  readonly engine: DmaEngine;
  readonly #faults: FaultPlan;
  readonly #log: DmaLog | null;
  readonly #running: () => boolean;

  constructor(
    { iommu, dma, pin }: SimSpec,
    seed: number,
    faults: FaultPlan,
    log: DmaLog | null,
    running: () => boolean,
    now: () => number,
  ) {
    this.hardware = iommu === "all-dirty";
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
