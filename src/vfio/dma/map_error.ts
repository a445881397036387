/**
 * Explains why memory cannot be mapped for DMA, or unmapped.
 *
 * @module
 */

import type { SysError } from "../../kernel/sys_error.ts";
import type { AddressSpaceInfo, DmaMapping } from "./address_space.ts";
import { DmaError } from "./dma_error.ts";
import {
  encloses,
  formatIova,
  IOVA_END,
  type IovaMapping,
  type IovaRange,
  overlap,
} from "./iova.ts";
import type { Type1Info } from "./type1_info.ts";

/** What is known about the address space that refused the call. */
export interface RefusalContext {
  /** Its kind, for messages. */
  readonly where: "container" | "IOAS";
  /** What it can map; null if that cannot be read. */
  readonly info: (AddressSpaceInfo & Partial<Pick<Type1Info, "dmaAvail">>) | null;
  /** Its known mappings. */
  readonly mappings: readonly IovaMapping[];
  /** The number of bytes that the process may lock; null without a limit. */
  readonly memlock: bigint | null;
}

interface Explanation {
  readonly why: string;
  readonly hint: string;
}

/** Explains a failure of VFIO_IOMMU_MAP_DMA or IOMMU_IOAS_MAP. */
export function mapError(error: SysError, mapping: DmaMapping, context: RefusalContext): DmaError {
  const { why, hint } = explainMapFailure(error.code, mapping, context);
  return new DmaError(`Cannot map ${formatIova(mapping)} for DMA`, why, hint, error);
}

/** Explains a failure of VFIO_IOMMU_UNMAP_DMA or IOMMU_IOAS_UNMAP. */
export function unmapError(
  error: SysError,
  range: IovaMapping,
  { where, info, mappings }: RefusalContext,
): DmaError {
  const cut = mappings.find((mapping) => overlap(mapping, range) && !encloses(range, mapping));
  const why = (error.code === "EOVERFLOW" ? "the range reaches beyond 2^64" : null) ??
    shapeDefect(range, info) ??
    (cut === undefined
      ? error.code === "EINVAL" || error.code === "ENOENT"
        ? `the range may cut a mapping that somebody else made in this ${where}`
        : "the kernel does not say more"
      : `the mapping ${formatIova(cut)} would be cut, and a mapping is only unmapped whole`);
  return new DmaError(`Cannot unmap ${formatIova(range)}`, why, "", error);
}

function explainMapFailure(
  code: string,
  mapping: DmaMapping,
  { where, info, mappings, memlock }: RefusalContext,
): Explanation {
  switch (code) {
    case "EEXIST": {
      const other = mappings.find((known) => overlap(known, mapping));
      const what = other === undefined
        ? `a mapping that somebody else made in this ${where}`
        : `the mapping ${formatIova(other)}`;
      return { why: `it overlaps ${what}`, hint: "" };
    }
    case "ENOSPC":
      return {
        why: `the ${where} takes no more mappings${left(info?.dmaAvail)}`,
        hint:
          "Map fewer and larger ranges, or raise the limit, as root and before the container is " +
          "opened: echo NUMBER > /sys/module/vfio_iommu_type1/parameters/dma_entry_limit",
      };
    case "EOVERFLOW":
      return { why: overflow(mapping), hint: "" };
    case "ENOMEM":
      return explainMemlock(mapping, mappings, memlock);
    case "ENOENT":
      return { why: `the ${where} is no longer there`, hint: "" };
    case "EFAULT":
      return {
        why: "its memory is not mapped in this process, or cannot be pinned",
        hint:
          "If it is a file: from Linux 6.5 on, only files of tmpfs and hugetlbfs, and memfds, can be pinned",
      };
    default:
      return {
        why: shapeDefect(mapping, info) ?? accessDefect(mapping, info) ??
          "the kernel does not say more",
        hint: "",
      };
  }
}

/** How many mappings the container still takes; nothing if that is not known. */
function left(dmaAvail: number | null | undefined): string {
  return dmaAvail === null || dmaAvail === undefined ? "" : `: ${dmaAvail} are left`;
}

/** What is too large. The kernel checks this before it looks at pages. */
function overflow({ iova, size, vaddr }: DmaMapping): string {
  return iova + size <= IOVA_END && vaddr + size >= IOVA_END
    ? "its memory would reach beyond 2^64"
    : "it reaches beyond 2^64";
}

function explainMemlock(
  { size }: DmaMapping,
  mappings: readonly IovaMapping[],
  memlock: bigint | null,
): Explanation {
  const mapped = mappings.reduce((sum, mapping) => sum + mapping.size, 0n);
  if (memlock === null) {
    return {
      why: "the kernel has no memory for it",
      hint: "Free memory, or raise the limit of the memory cgroup that this process is in",
    };
  }
  const sums = `DMA memory is locked, and this process may lock ${memlock} bytes ` +
    `(RLIMIT_MEMLOCK); ${mapped} are mapped, and ${size} more were wanted`;
  return {
    why: mapped + size > memlock
      ? sums
      : `${sums}: what else is locked counts as well, or the kernel has no memory for it`,
    hint: "Raise the limit for the shell that starts it (as root: ulimit -l unlimited), in its " +
      "systemd unit (LimitMEMLOCK=infinity), or give it CAP_IPC_LOCK",
  };
}

/** What is wrong with a range's size or alignment; null if nothing is. */
function shapeDefect({ iova, size }: IovaMapping, info: AddressSpaceInfo | null): string | null {
  if (size === 0n) return "it has 0 bytes";
  const page = info === null ? 0n : info.pgsizes & -info.pgsizes;
  if (page > 0n && (iova % page !== 0n || size % page !== 0n)) {
    return `it is not in whole pages of ${page} bytes`;
  }
  return iova + size > IOVA_END ? "it reaches beyond 2^64" : null;
}

function accessDefect(mapping: DmaMapping, info: AddressSpaceInfo | null): string | null {
  const page = info === null ? 0n : info.pgsizes & -info.pgsizes;
  if (page > 0n && mapping.vaddr % page !== 0n) {
    return `its memory does not begin at a page of ${page} bytes`;
  }
  if (mapping.flags === 0) return "the device may neither read nor write it";
  const ranges = info?.iovaRanges ?? null;
  if (ranges === null) return null;
  const inside = ranges.some(({ start, end }) =>
    encloses({ iova: start, size: end + 1n - start }, mapping)
  );
  if (inside) return null;
  const list = ranges.map(({ start, end }) => formatIova({ iova: start, size: end + 1n - start }));
  const hole = holeAt(mapping, ranges);
  const why = hole ?? "the IOMMU does not reach that far";
  return `${why}: it maps ${list.length === 0 ? "nothing" : list.join(", ")}`;
}

/**
 * Address ranges that an IOMMU reserves. Sources: Documentation of the Intel and AMD IOMMUs
 * (interrupts are written to 0xfee00000; HyperTransport's addresses), drivers/iommu/amd/iommu.c,
 * MSI_IOVA_BASE of drivers/iommu/arm.
 */
const RESERVED: readonly (IovaMapping & { readonly what: string })[] = [
  { iova: 0xfee00000n, size: 0x100000n, what: "the MSI window, where interrupts are written to" },
  { iova: 0x8000000n, size: 0x100000n, what: "the MSI window of Arm's SMMU" },
  { iova: 0xfd00000000n, size: 0x300000000n, what: "AMD's HyperTransport range" },
];

/** Describes the hole in the ranges that a mapping overlaps; null if it lies above all of them. */
function holeAt(mapping: IovaMapping, ranges: readonly IovaRange[]): string | null {
  const sorted = [...ranges].sort((a, b) => a.start < b.start ? -1 : 1);
  let from = 0n;
  for (const { start, end } of sorted) {
    const hole = { iova: from, size: start - from };
    if (hole.size > 0n && overlap(hole, mapping)) {
      return `${formatIova(hole)} ${describeHole(hole)}`;
    }
    if (end >= from) from = end + 1n;
  }
  // A reserved range at the end is not a hole: no range follows it.
  const reserved = RESERVED.find((known) => overlap(known, mapping));
  return reserved === undefined || reserved.iova + reserved.size <= from
    ? null
    : `${formatIova(reserved)} ${describeHole(reserved)}`;
}

function describeHole(hole: IovaMapping): string {
  const known = RESERVED.find((range) => overlap(range, hole));
  return `is a hole${known === undefined ? "" : ` (${known.what})`} that the IOMMU leaves out`;
}
