/**
 * Memory that is a file: a memfd, a file of tmpfs or hugetlbfs, or another file.
 */

import { isErrno, SysError } from "../kernel/sys_error.ts";
import {
  type Kernel,
  MAP_SHARED,
  type Mapping,
  O_CLOEXEC,
  O_RDWR,
  PROT_READ,
  PROT_WRITE,
} from "../kernel/kernel.ts";
import { DmaError } from "../vfio/dma/dma_error.ts";
import { formatIova, type IovaMapping } from "../vfio/dma/iova.ts";
import { DirtyRangeError } from "./range_error.ts";

/** Where memory is. */
export interface MemoryFile {
  /** The fd of the caller's memory (a memfd, a file); it stays the caller's. */
  readonly fd?: number | undefined;
  /** The file that is the memory, by its path; it is opened for reading and writing. */
  readonly file?: string | undefined;
  /** Bytes from the start of that memory, in whole pages. Default 0. */
  readonly offset?: number | bigint | undefined;
}

/** Smallest page of a file, in bytes. */
const PAGE = 4096n;

/**
 * Maps the part of a file that is a range's memory; others who map it see the same bytes.
 *
 * @returns null if no file was named.
 * @throws {DirtyRangeError} If the file is shorter, or its part does not begin at a page.
 * @throws {DmaError} If it cannot be opened or mapped, for reading and writing.
 */
export function mapMemoryFile(
  kernel: Kernel,
  range: IovaMapping & MemoryFile,
): Mapping | null {
  const { fd, file } = range;
  if (fd !== undefined && file !== undefined) {
    throw new TypeError(
      `Cannot map ${formatIova(range)}: name the memory's fd or its file, not both`,
    );
  }
  if (fd !== undefined) return mapPart(kernel, range, fd, `fd ${fd}`);
  if (file === undefined) return null;
  const opened = explained(range, `"${file}"`, () => kernel.open(file, O_RDWR | O_CLOEXEC));
  try {
    return mapPart(kernel, range, opened, `"${file}"`);
  } finally {
    kernel.close(opened);
  }
}

function mapPart(
  kernel: Kernel,
  range: IovaMapping & MemoryFile,
  fd: number,
  label: string,
): Mapping {
  const offset = BigInt(range.offset ?? 0);
  const refuse = (defect: string): never => {
    throw new DirtyRangeError(
      `Cannot use ${label} as the memory of ${formatIova(range)}: ${defect}`,
    );
  };
  if (offset < 0n || offset % PAGE !== 0n) refuse(`its offset ${offset} is not in whole pages`);
  const end = offset + range.size;
  // Memory behind a file's end can be mapped, and touching it ends the process.
  const last = new Uint8Array(new ArrayBuffer(1));
  if (explained(range, label, () => kernel.pread(fd, last, end - 1n)) === 0) {
    refuse(`it ends before byte ${end}`);
  }
  // The kernel maps /dev/zero as memory that ends where the range does, wherever in it that begins.
  if (explained(range, label, () => kernel.pread(fd, last, FAR)) > 0) refuse("it has no end");
  const map = (): Mapping =>
    kernel.mmap(Number(range.size), {
      fd,
      offset,
      prot: PROT_READ | PROT_WRITE,
      flags: MAP_SHARED,
    });
  return explained(range, label, map, WHY_NOT_MAPPED);
}

/** No file that is memory is as large, in bytes. */
const FAR = 1n << 52n;

/** What an errno says about a file that is to be memory. */
const WHY = {
  ENOENT: "there is no such file",
  EACCES: "it cannot be both read and written",
  EBADF: "it is not open for reading",
  EROFS: "it is on a read-only file system",
  EISDIR: "it is a folder",
  ESPIPE: "it is a pipe or a socket, and not memory",
  ENODEV: "a file of this kind cannot be mapped",
  EPERM: "it is sealed against writing",
  ENOMEM: "there is not enough memory, or there are not enough free huge pages",
} as const;

/** The same of mapping it. */
const WHY_NOT_MAPPED = {
  ...WHY,
  EINVAL: "it has huge pages, and the range or its offset is not in whole ones",
} as const;

function explained<Value>(
  range: IovaMapping,
  label: string,
  work: () => Value,
  reasons: Readonly<Record<string, string>> = WHY,
): Value {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    const why = reasons[error.code];
    if (why === undefined) throw error;
    const hint = isErrno(error, "EACCES") ? "Open it for reading and writing (O_RDWR)" : "";
    throw new DmaError(
      `Cannot use ${label} as the memory of ${formatIova(range)}`,
      why,
      hint,
      error,
    );
  }
}
