/**
 * An ioctl through the seam, against the same call in C.
 */

import * as fs from "node:fs";
import { execFileSync } from "node:child_process";
import { libc } from "../../src/kernel/libc/calls_with_errno.ts";
import { ERRNO } from "../../src/kernel/errno_names.ts";
import { isErrno } from "../../src/kernel/sys_error.ts";
import { O_RDWR } from "../../src/kernel/kernel.ts";
import { libcKernel } from "../../src/kernel/libc/libc_kernel.ts";
import { VFIO_GET_API_VERSION } from "../../src/uapi/mod.ts";
import { run } from "./_command.ts";
import { compile } from "./_compile.ts";
import { interleave } from "./_measure.ts";
import type { Row } from "./_row.ts";

const FIONREAD = 0x541b;
const CALLS = 200_000;

/** What an ioctl through the seam may cost more than in C, in ns. */
const MOST_MORE = 300;

/** Nanoseconds of a call. */
function perCall(call: () => boolean): number {
  let wrong = 0;
  const begun = performance.now();
  for (let done = 0; done < CALLS; done++) if (!call()) wrong += 1;
  const elapsed = performance.now() - begun;
  if (wrong > 0) throw new Error(`${wrong} ioctls answered wrong`);
  return elapsed * 1e6 / CALLS;
}

function row(what: string, pair: { ours: number; theirs: number }, most: number | null): Row {
  const more = pair.ours - pair.theirs;
  return {
    what,
    ...pair,
    yardstick: "C",
    unit: "ns",
    compared: `+${Math.round(more)} ns`,
    target: most === null ? null : `≤ +${most} ns`,
    met: most === null ? null : more <= most,
    note: null,
  };
}

/** One that succeeds, one that fails and says why, and one whose failure is thrown. */
export async function ioctlRows(folder: string, rounds: number): Promise<Row[]> {
  const program = await compile("ioctl", folder);
  const fifo = `${folder}/fifo`;
  execFileSync("mkfifo", [fifo]);
  const kernel = libcKernel();
  const raw = libc();
  const fd = kernel.open(fifo, O_RDWR);
  const buffer = new Uint8Array(new ArrayBuffer(8));
  const theirs = async (which: 0 | 1): Promise<number> =>
    Number((await run([program, String(CALLS)])).stdout.split(" ")[which]);
  const thrown = (): boolean => {
    try {
      kernel.ioctl(fd, VFIO_GET_API_VERSION, buffer);
      return false;
    } catch (error) {
      return isErrno(error, "ENOTTY");
    }
  };
  try {
    return [
      row(
        "ioctl that succeeds (FIONREAD)",
        await interleave(rounds, {
          theirs: () => theirs(0),
          ours: () => perCall(() => kernel.ioctl(fd, FIONREAD, buffer) === 0),
        }),
        MOST_MORE,
      ),
      row(
        "ioctl that fails, errno read",
        await interleave(rounds, {
          theirs: () => theirs(1),
          ours: () => perCall(() => raw.ioctl(fd, VFIO_GET_API_VERSION, buffer) === -ERRNO.ENOTTY),
        }),
        MOST_MORE,
      ),
      row(
        "ioctl that fails, thrown as SysError",
        await interleave(rounds, { theirs: () => theirs(1), ours: () => perCall(thrown) }),
        null,
      ),
    ];
  } finally {
    kernel.close(fd);
    fs.rmSync(fifo);
  }
}
