/**
 * Why memory could not be mapped for DMA, or taken back.
 *
 * @module
 */

import type { SysError } from "../../kernel/error.ts";
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

/** What is known of the address space that refused. */
export interface RefusalContext {
  /** What it is called. */
  readonly where: "container" | "IOAS";
  /** What it says of itself; null where it does not. */
  readonly info: (AddressSpaceInfo & Partial<Pick<Type1Info, "dmaAvail">>) | null;
  /** What is known to be mapped in it. */
  readonly mappings: readonly IovaMapping[];
  /** Bytes that the process may lock; null without a limit. */
  readonly memlock: bigint | null;
}

interface Why {
  readonly why: string;
  readonly hint: string;
}

/** Explains what VFIO_IOMMU_MAP_DMA, or IOMMU_IOAS_MAP, answered. */
export function mapError(error: SysError, mapping: DmaMapping, context: RefusalContext): DmaError {
  const { why, hint } = whyNotMapped(error.code, mapping, context);
  return new DmaError(`Cannot map ${formatIova(mapping)} for DMA`, why, hint, error);
}

/** Explains what VFIO_IOMMU_UNMAP_DMA, or IOMMU_IOAS_UNMAP, answered. */
export function unmapError(
  error: SysError,
  range: IovaMapping,
  { where, info, mappings }: RefusalContext,
): DmaError {
  const cut = mappings.find((mapping) => overlap(mapping, range) && !encloses(range, mapping));
  const why = shapeDefect(range, info) ??
    (cut === undefined
      ? error.code === "EINVAL" || error.code === "ENOENT"
        ? `the range may cut a mapping that somebody else made in this ${where}`
        : "the kernel does not say more"
      : `the mapping ${formatIova(cut)} would be cut, and a mapping is only taken back whole`);
  return new DmaError(`Cannot unmap ${formatIova(range)}`, why, "", error);
}

function whyNotMapped(
  code: string,
  mapping: DmaMapping,
  { where, info, mappings, memlock }: RefusalContext,
): Why {
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
        why: `the container takes no more mappings: ${info?.dmaAvail ?? 0} may be made`,
        hint:
          "Map fewer and larger ranges, or raise the limit, as root and before the container is " +
          "opened: echo NUMBER > /sys/module/vfio_iommu_type1/parameters/dma_entry_limit",
      };
    case "ENOMEM":
      return notLocked(mapping, mappings, memlock);
    case "ENOENT":
      return { why: `the ${where} is no longer there`, hint: "" };
    case "EFAULT":
      return { why: "its memory is not mapped in this process, or cannot be pinned", hint: "" };
    default:
      return {
        why: shapeDefect(mapping, info) ?? accessDefect(mapping, info) ??
          "the kernel does not say more",
        hint: "",
      };
  }
}

function notLocked(
  { size }: DmaMapping,
  mappings: readonly IovaMapping[],
  memlock: bigint | null,
): Why {
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

/** What is wrong with a range in itself; null where nothing is. */
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
 * What lies between addresses that an IOMMU maps. Sources: Documentation of the Intel and AMD IOMMUs
 * (interrupts are written to 0xfee00000; HyperTransport's addresses), drivers/iommu/amd/iommu.c,
 * MSI_IOVA_BASE of drivers/iommu/arm.
 */
const RESERVED: readonly (IovaMapping & { readonly what: string })[] = [
  { iova: 0xfee00000n, size: 0x100000n, what: "the MSI window, where interrupts are written to" },
  { iova: 0x8000000n, size: 0x100000n, what: "the MSI window of Arm's SMMU" },
  { iova: 0xfd00000000n, size: 0x300000000n, what: "AMD's HyperTransport range" },
];

/** Which hole in the ranges a mapping meets, in words; null where it lies behind all of them. */
function holeAt(mapping: IovaMapping, ranges: readonly IovaRange[]): string | null {
  const sorted = [...ranges].sort((a, b) => a.start < b.start ? -1 : 1);
  let from = 0n;
  for (const { start, end } of sorted) {
    const hole = { iova: from, size: start - from };
    if (hole.size > 0n && overlap(hole, mapping)) return `${formatIova(hole)} ${named(hole)}`;
    if (end >= from) from = end + 1n;
  }
  // Where nothing follows, a reserved range shows as the end.
  const reserved = RESERVED.find((known) => overlap(known, mapping));
  return reserved === undefined || reserved.iova + reserved.size <= from
    ? null
    : `${formatIova(reserved)} ${named(reserved)}`;
}

function named(hole: IovaMapping): string {
  const known = RESERVED.find((range) => overlap(range, hole));
  return `is a hole${known === undefined ? "" : ` (${known.what})`} that the IOMMU leaves out`;
}
