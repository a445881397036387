/**
 * Dirty pages of the type1 IOMMU. The kernel's own code answers, so a failure is the kernel's.
 *
 * @module
 */

import {
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  type Mapping,
  PROT_READ,
  PROT_WRITE,
} from "../../kernel/kernel.ts";
import {
  VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP as GET_BITMAP,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_START as START,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP as STOP,
  VFIO_IOMMU_UNMAP_DMA,
  vfioBitmap,
  vfioIommuType1DirtyBitmap,
  vfioIommuType1DirtyBitmapGet,
  vfioIommuType1DmaUnmap,
} from "../../uapi/mod.ts";
import { answered, type Attempt, attempt } from "../attempt.ts";
import type { CheckContext } from "../context.ts";
import { type Check, defineCheck } from "../define.ts";
import { DmaWindow, WINDOW_BYTES } from "../dma_window.ts";
import { rule } from "../rules.ts";

const PAGE = 4096n;
/** Bytes of the window's bitmap, in whole u64s. */
const BITMAP = WINDOW_BYTES / Number(PAGE) / 8;
const CANARY = 64;
const CANARY_BYTE = 0xa5;

/** A container with memory mapped, and memory for bitmaps. */
class Tracking implements Disposable {
  readonly memory: DmaWindow;
  readonly #context: CheckContext;
  readonly #bitmap: Mapping;

  constructor(context: CheckContext) {
    this.#context = context;
    this.memory = DmaWindow.map(context);
    const prot = PROT_READ | PROT_WRITE;
    this.#bitmap = context.kernel.mmap(4096, { prot, flags: MAP_PRIVATE | MAP_ANONYMOUS });
  }

  get #container(): number {
    return this.#context.device.container!.fd.number;
  }

  /** VFIO_IOMMU_DIRTY_PAGES with these flags. */
  call(flags: number, data: Uint8Array<ArrayBuffer> = new Uint8Array(0)): Attempt<number> {
    const argument = vfioIommuType1DirtyBitmap.pack({ flags, data });
    const answer = attempt(() =>
      this.#context.kernel.ioctl(this.#container, VFIO_IOMMU_DIRTY_PAGES, argument)
    );
    this.#context.step(`DIRTY_PAGES with flags 0x${flags.toString(16)} → ${answered(answer)}`);
    return answer;
  }

  /** START that must succeed. */
  start(): void {
    const { errno } = this.call(START);
    if (errno !== null) this.#context.unclear(`tracking cannot be started: ${errno}`);
  }

  /** GET_BITMAP of a range into a bitmap between canaries. */
  get(
    size: bigint = BigInt(WINDOW_BYTES),
    pgsize: bigint = PAGE,
  ): { errno: string | null; intact: boolean } {
    this.#prepare();
    const request = vfioIommuType1DirtyBitmapGet.pack({
      iova: this.memory.iova,
      size,
      bitmap: this.#place(pgsize),
    });
    const { errno } = this.call(GET_BITMAP, request);
    return { errno, intact: this.#intact() };
  }

  /** UNMAP_DMA of the memory, with its dirty pages. */
  unmap(): { errno: string | null; unmapped: bigint; intact: boolean } {
    this.#prepare();
    const argument = vfioIommuType1DmaUnmap.pack({
      flags: VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
      iova: this.memory.iova,
      size: BigInt(WINDOW_BYTES),
      data: vfioBitmap.pack(this.#place(PAGE)),
    });
    const { errno } = attempt(() =>
      this.#context.kernel.ioctl(this.#container, VFIO_IOMMU_UNMAP_DMA, argument)
    );
    const { size } = vfioIommuType1DmaUnmap.unpack(argument);
    this.#context.step(`UNMAP_DMA with GET_DIRTY_BITMAP → ${errno ?? `${size} bytes`}`);
    if (errno === null) this.#context.device.container!.forget(this.memory.iova);
    return { errno, unmapped: size, intact: this.#intact() };
  }

  #place(pgsize: bigint): { pgsize: bigint; size: bigint; data: bigint } {
    return { pgsize, size: BigInt(BITMAP), data: this.#bitmap.address + BigInt(CANARY) };
  }

  #prepare(): void {
    const bytes = new Uint8Array(BITMAP + 2 * CANARY).fill(CANARY_BYTE);
    bytes.fill(0, CANARY, CANARY + BITMAP);
    this.#bitmap.write(0, bytes);
  }

  #intact(): boolean {
    const bytes = new Uint8Array(BITMAP + 2 * CANARY);
    this.#bitmap.read(0, bytes);
    return [...bytes.subarray(0, CANARY), ...bytes.subarray(CANARY + BITMAP)]
      .every((byte) => byte === CANARY_BYTE);
  }

  [Symbol.dispose](): void {
    this.call(STOP);
    this.memory.close();
    this.#bitmap.close();
  }
}

function type1Check(
  id: string,
  number: number,
  judge: (context: CheckContext, tracking: Tracking) => void,
): Check {
  return defineCheck({
    id: `type1.${id}`,
    group: "type1",
    rules: [rule(number)],
    // In a container of another program its own tracking would be started and stopped.
    needs: { type1: true, closable: true },
    run: (context) => {
      using tracking = new Tracking(context);
      judge(context, tracking);
    },
  });
}

function expectRefused(context: CheckContext, errno: string | null, what: string): void {
  context.expect(errno === "EINVAL", `${what} fails with EINVAL`, errno ?? "it succeeds");
}

/** The checks of type1's dirty pages. */
export const TYPE1_CHECKS: readonly Check[] = [
  type1Check("flags", 126, (context, tracking) => {
    for (const flags of [START | STOP, START | GET_BITMAP, 1 << 8]) {
      const { errno } = tracking.call(flags, new Uint8Array(40));
      expectRefused(context, errno, `DIRTY_PAGES with flags 0x${flags.toString(16)}`);
    }
    // Linux 5.10 answers ENOTTY.
    const { errno } = tracking.call(0, new Uint8Array(40));
    context.expect(errno !== null, "DIRTY_PAGES without a flag fails", "it succeeds");
  }),
  type1Check("off", 127, (context, tracking) => {
    expectRefused(context, tracking.get().errno, "GET_BITMAP before START");
    tracking.start();
    tracking.call(STOP);
    expectRefused(context, tracking.get().errno, "GET_BITMAP after STOP");
  }),
  type1Check("repeated", 128, (context, tracking) => {
    tracking.start();
    for (const [flags, word] of [[START, "START"], [STOP, "STOP"], [STOP, "STOP"]] as const) {
      const { errno } = tracking.call(flags);
      context.expect(errno === null, `a repeated ${word} succeeds`, `it failed with ${errno}`);
    }
  }),
  type1Check("ranges", 129, (context, tracking) => {
    tracking.start();
    expectRefused(context, tracking.get(undefined, 8192n).errno, "GET_BITMAP by pages of 8 KiB");
    const half = tracking.get(BigInt(WINDOW_BYTES) / 2n).errno;
    expectRefused(context, half, "GET_BITMAP of half of a mapping");
  }),
  type1Check("bitmap", 130, (context, tracking) => {
    tracking.start();
    const { errno, intact } = tracking.get();
    context.expect(errno === null, "GET_BITMAP succeeds", `it failed with ${errno}`);
    context.expect(intact, `${CANARY} bytes around the bitmap stay`, "some were written to");
  }),
  type1Check("unmap", 131, (context, tracking) => {
    tracking.start();
    const { errno, unmapped, intact } = tracking.unmap();
    context.expect(errno === null, "UNMAP_DMA succeeds", `it failed with ${errno}`);
    context.expect(
      unmapped === BigInt(WINDOW_BYTES),
      `it unmaps ${WINDOW_BYTES} bytes`,
      `${unmapped} bytes`,
    );
    context.expect(intact, `${CANARY} bytes around the bitmap stay`, "some were written to");
  }),
];
