/**
 * What to do when no more files can be opened: EMFILE is the process's limit, ENFILE the system's.
 */

import type { Kernel } from "../../kernel/kernel.ts";
import { isRoot, textOf } from "./evidence.ts";

/** What stands in the way, and what to do. */
interface Limit {
  readonly why: string;
  readonly hint: string;
}

/** EMFILE: RLIMIT_NOFILE, of this process alone. */
export function tooManyFiles(kernel: Kernel): Limit {
  const limits = /^Max open files\s+(\d+)\s+(\d+|unlimited)\s/m.exec(
    textOf(kernel, "/proc/self/limits") ?? "",
  );
  const soft = limits === null ? null : Number(limits[1]);
  const count = soft === null ? "" : `, ${soft} (RLIMIT_NOFILE)`;
  const why = `this process has as many files open as it may${count}`;
  const close = "Close some, or raise the limit for the shell that starts it";
  if (soft !== null && limits?.[2] !== String(soft)) {
    return { why, hint: `${close}: ulimit -n ${limits![2]}` };
  }
  // The hard limit is reached as well, which only root raises.
  const more = 2 * (soft ?? 4096);
  return {
    why,
    hint: `${close}, as root: ulimit -n ${more}. Of a systemd unit: LimitNOFILE=${more}`,
  };
}

/** ENFILE: fs.file-max, of the whole system. It does not count for root. */
export function tooManyFilesInSystem(kernel: Kernel): Limit {
  const text = textOf(kernel, "/proc/sys/fs/file-max")?.trim() ?? "";
  const max = /^\d+$/.test(text) ? BigInt(text) : null;
  const count = max === null ? "" : `, ${max} (fs.file-max)`;
  const why = `the system has as many files open as it may${count}`;
  // Linux lets CAP_SYS_ADMIN go beyond the limit, which systemd sets to 2^63 - 1.
  if (isRoot(kernel) === true || (max !== null && max >= 1n << 62n)) {
    return {
      why: "the kernel has no file left for it",
      hint: "See how many are open (cat /proc/sys/fs/file-nr), and the kernel's log (dmesg)",
    };
  }
  const more = max === null ? '"$(( $(cat /proc/sys/fs/file-max) * 2 ))"' : String(max * 2n);
  return { why, hint: `Close some, or raise the limit, as root: sysctl -w fs.file-max=${more}` };
}
