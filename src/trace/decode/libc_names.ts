// The names of the bits that calls of libc take.

import { bitNames } from "./names.ts";
import * as kernel from "../../kernel/kernel.ts";

/** Flags of open(2); the way of access comes first. */
export function openFlagNames(flags: number): string[] {
  const access = ["O_RDONLY", "O_WRONLY", "O_RDWR"][flags & 3];
  const rest = bitNames(
    [["O_NONBLOCK", kernel.O_NONBLOCK], ["O_CLOEXEC", kernel.O_CLOEXEC]],
    flags & ~3,
  );
  return access === undefined ? rest : [access, ...rest];
}

/** Protection of mmap(2). */
export function protectionNames(prot: number): string[] {
  return bitNames([["PROT_READ", kernel.PROT_READ], ["PROT_WRITE", kernel.PROT_WRITE]], prot);
}

/** Flags of mmap(2). */
export function mapFlagNames(flags: number): string[] {
  return bitNames([
    ["MAP_SHARED", kernel.MAP_SHARED],
    ["MAP_PRIVATE", kernel.MAP_PRIVATE],
    ["MAP_ANONYMOUS", kernel.MAP_ANONYMOUS],
    ["MAP_HUGETLB", kernel.MAP_HUGETLB],
  ], flags);
}

/** Flags of memfd_create(2). */
export function memfdFlagNames(flags: number): string[] {
  return bitNames([
    ["MFD_CLOEXEC", kernel.MFD_CLOEXEC],
    ["MFD_HUGETLB", kernel.MFD_HUGETLB],
  ], flags);
}

/** Events of poll(2). */
export function pollEventNames(events: number): string[] {
  return bitNames([
    ["POLLIN", kernel.POLLIN],
    ["POLLOUT", kernel.POLLOUT],
    ["POLLERR", kernel.POLLERR],
    ["POLLHUP", kernel.POLLHUP],
  ], events);
}
