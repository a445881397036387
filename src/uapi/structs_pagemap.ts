/**
 * Structs by which writes to memory are found: of a userfaultfd, which write-protects it
 * (linux/userfaultfd.h), and of a pagemap, which says what was written to (linux/fs.h).
 *
 * @module
 */

import { struct } from "./codec.ts";
import type { StructCodec } from "./struct_types.ts";

/** `struct uffdio_api`: the argument of UFFDIO_API. */
export interface UffdioApi {
  /** UFFD_API. */
  api: bigint;
  /** `UFFD_FEATURE_*` that are wanted; in the answer, those that there are. */
  features: bigint;
  /** In the answer, a bit for each request that can be made next. */
  ioctls: bigint;
}

/** `struct uffdio_api`, 24 bytes. */
export const uffdioApi: StructCodec<UffdioApi> = struct("uffdio_api", {
  api: "u64",
  features: "u64",
  ioctls: "u64",
});

/** `struct uffdio_range`: memory of the process. */
export interface UffdioRange {
  /** Its address. */
  start: bigint;
  /** Its bytes, in whole pages. */
  len: bigint;
}

/** `struct uffdio_range`, 16 bytes. */
export const uffdioRange: StructCodec<UffdioRange> = struct("uffdio_range", {
  start: "u64",
  len: "u64",
});

/** `struct uffdio_register`: the argument of UFFDIO_REGISTER. */
export interface UffdioRegister {
  /** The memory. */
  range: UffdioRange;
  /** `UFFDIO_REGISTER_MODE_*`. */
  mode: bigint;
  /** In the answer, a bit for each request that can be made about it. */
  ioctls: bigint;
}

/** `struct uffdio_register`, 32 bytes. */
export const uffdioRegister: StructCodec<UffdioRegister> = struct("uffdio_register", {
  range: uffdioRange,
  mode: "u64",
  ioctls: "u64",
});

/** `struct page_region`: pages of the same categories, in the answer of PAGEMAP_SCAN. */
export interface PageRegion {
  /** The address of the first. */
  start: bigint;
  /** The address behind the last. */
  end: bigint;
  /** `PAGE_IS_*`, of those in return_mask. */
  categories: bigint;
}

/** `struct page_region`, 24 bytes. */
export const pageRegion: StructCodec<PageRegion> = struct("page_region", {
  start: "u64",
  end: "u64",
  categories: "u64",
});

/** `struct pm_scan_arg`: the argument of PAGEMAP_SCAN. */
export interface PmScanArg {
  /** Size of the struct in bytes. */
  size: bigint;
  /** `PM_SCAN_*`. */
  flags: bigint;
  /** The first address, of a page. */
  start: bigint;
  /** The address behind the last. */
  end: bigint;
  /** In the answer, the address up to which pages were looked at. */
  walk_end: bigint;
  /** Address of an array of struct page_region; 0 for none. */
  vec: bigint;
  /** The number of regions that there is room for. */
  vec_len: bigint;
  /** Most pages to find; 0 for any number. */
  max_pages: bigint;
  /** Categories that match where the page is not in them. */
  category_inverted: bigint;
  /** Categories that must match, all of them. */
  category_mask: bigint;
  /** Categories of which one must match; 0 for none. */
  category_anyof_mask: bigint;
  /** Categories to answer. */
  return_mask: bigint;
}

/** `struct pm_scan_arg`, 96 bytes. */
export const pmScanArg: StructCodec<PmScanArg> = struct("pm_scan_arg", {
  size: "u64",
  flags: "u64",
  start: "u64",
  end: "u64",
  walk_end: "u64",
  vec: "u64",
  vec_len: "u64",
  max_pages: "u64",
  category_inverted: "u64",
  category_mask: "u64",
  category_anyof_mask: "u64",
  return_mask: "u64",
});
