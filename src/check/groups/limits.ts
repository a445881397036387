/**
 * Many sessions in a row: nothing is left behind, and none takes longer.
 *
 * @module
 */

import { attempt } from "../attempt.ts";
import type { CheckContext } from "../context.ts";
import { type Check, defineCheck } from "../define.ts";
import { rule } from "../rules.ts";
import { RUNNING, STOP_COPY } from "../v2/states.ts";

/** How many sessions there are, unless they take too long. */
const CYCLES = 1000;
/** When no further session begins, in milliseconds. */
const TIME_MAX = 15_000;
/** Sessions whose time is compared. */
const SAMPLE = 20;
/** How much longer a session may take than the first ones, and by how much at least, in milliseconds. */
const SLOWER = 4;
const SLOWER_MS = 10;
/** How many samples in a row have to grow. */
const GROWING = 3;
/** Kernel memory that may stay allocated for each session, in bytes. */
const LEFT_BYTES = 4096;

/** Open files of this process; null where /proc does not show them. */
function openFiles({ kernel }: CheckContext): number | null {
  return attempt(() => kernel.readDir("/proc/self/fd").length).value;
}

/** Kernel memory in slabs that cannot be reclaimed, in bytes; null if that is not known. */
function slabs({ kernel }: CheckContext): number | null {
  const { value } = attempt(() => kernel.readText("/proc/meminfo"));
  const kib = /^SUnreclaim:\s*(\d+) kB/m.exec(value ?? "")?.[1];
  return kib === undefined ? null : Number(kib) * 1024;
}

/** The checks of limits. */
export const LIMIT_CHECKS: readonly Check[] = [
  defineCheck({
    id: "v2.limits.sessions",
    group: "limits",
    rules: [rule(41), rule(140)],
    needs: { protocol: "v2" },
    run: (context) => {
      const { v2 } = context;
      const times: number[] = [];
      const fds: number[] = [];
      const before = openFiles(context);
      let memory = slabs(context);
      const begun = performance.now();
      while (times.length < CYCLES && performance.now() - begun < TIME_MAX) {
        const at = performance.now();
        const { errno, dataFd: fd } = v2.set(STOP_COPY);
        context.expect(
          errno === null,
          `session ${times.length + 1} begins as the ones before`,
          `the SET of STOP_COPY failed with ${errno}`,
          41,
        );
        v2.read(fd, 4096);
        v2.close(fd);
        v2.enter(RUNNING);
        times.push(performance.now() - at);
        fds.push(fd);
        // The first sessions fill caches.
        if (times.length === SAMPLE) memory = slabs(context);
        if (times.length % SAMPLE === 0 && isSlower(times)) break;
      }
      const cycles = times.length;
      context.step(`${cycles} sessions of STOP_COPY`);
      const after = openFiles(context);
      // Other threads of this process open and close a few files meanwhile.
      const some = Math.max(SAMPLE, cycles / 4);
      const grown = (after ?? 0) - (before ?? 0);
      context.expect(
        grown < some && fds.at(-1)! < fds[0]! + some,
        "no session leaves an open file behind",
        grown < some
          ? `the first data_fd is ${fds[0]}, the last ${fds.at(-1)}`
          : `${before} files were open, then ${after}`,
        41,
      );
      const left = (slabs(context) ?? 0) - (memory ?? 0);
      context.prefer(
        cycles < CYCLES || left < LEFT_BYTES * cycles,
        `the kernel keeps less than ${LEFT_BYTES} bytes for a session`,
        `its slabs grew by ${left} bytes in ${cycles} sessions`,
        41,
      );
      context.prefer(
        !isSlower(times),
        "a session takes as long as the first ones",
        `the first ${SAMPLE} took ${mean(times.slice(0, SAMPLE)).toFixed(1)} ms each, the last ` +
          `${mean(times.slice(-SAMPLE)).toFixed(1)} ms`,
        140,
      );
    },
  }),
];

function mean(times: readonly number[]): number {
  return times.reduce((sum, time) => sum + time, 0) / Math.max(1, times.length);
}

/** The median counts: another program may hold up a few of them. */
function median(times: readonly number[]): number {
  return [...times].sort((a, b) => a - b)[times.length >> 1] ?? 0;
}

/** Whether sessions take longer and longer; a busy machine makes some of them slower, not all. */
function isSlower(times: readonly number[]): boolean {
  const medians = Array.from(
    { length: Math.floor(times.length / SAMPLE) },
    (_, block) => median(times.slice(block * SAMPLE, (block + 1) * SAMPLE)),
  );
  const [first, last] = [medians[0] ?? 0, medians.at(-1) ?? 0];
  const grows = medians.slice(-GROWING).every((value, at, all) => at === 0 || value > all[at - 1]!);
  return medians.length >= GROWING && grows && last > SLOWER * first && last - first > SLOWER_MS;
}
