/**
 * Many sessions in a row: nothing is left behind, and none takes longer.
 *
 * @module
 */

import { attempt } from "../attempt.ts";
import type { CheckContext } from "../context.ts";
import { type Check, defineCheck } from "../define.ts";
import { rule } from "../rules.ts";
import { VFIO_MIGRATION_PRE_COPY } from "../../uapi/mod.ts";
import { RESUMING as V1_RESUMING, RUNNING as V1_RUNNING, STOP_AND_COPY } from "../v1/v1_device.ts";
import { PRE_COPY, RESUMING, RUNNING, STOP_COPY } from "../v2/states.ts";

const group = "limits";

/** How many sessions there are, unless they take too long. */
const CYCLES = 1000;
/** How many there are of those that move a whole state, or are one kind of several. */
const FEWER_CYCLES = 300;
/** When no further session begins, in milliseconds, for each of the most sessions. */
const TIME_MAX = 15;
/** Sessions whose time is compared. */
const SAMPLE = 20;
/** How much longer a session may take than the first ones, and by how much at least, in milliseconds. */
const SLOWER = 4;
const SLOWER_MS = 10;
/** How many samples in a row have to grow. */
const GROWING = 3;
/**
 * Kinds of kernel memory: their fields in /proc/meminfo, and how many bytes may stay allocated for
 * each session.
 */
const MEMORY = [
  { kind: "slab", field: "SUnreclaim", left: 4096 },
  { kind: "vmalloc", field: "VmallocUsed", left: 2048 },
] as const;
/** Kernel memory that the rest of the system may take meanwhile, in bytes. */
const SLACK_BYTES = 1024 * 1024;

/** Open files of this process; null if /proc does not show them. */
function openFiles({ kernel }: CheckContext): number | null {
  return attempt(() => kernel.readDir("/proc/self/fd").length).value;
}

/**
 * Kernel memory by its kind, in bytes: slabs that cannot be reclaimed, and vmalloc; empty where
 * /proc does not show it.
 */
function kernelMemory({ kernel }: CheckContext): Record<string, number> {
  const { value } = attempt(() => kernel.readText("/proc/meminfo"));
  const found: Record<string, number> = {};
  for (const { kind, field } of MEMORY) {
    const kib = new RegExp(`^${field}:\\s*(\\d+) kB`, "m").exec(value ?? "")?.[1];
    if (kib !== undefined) found[kind] = Number(kib) * 1024;
  }
  return found;
}

/** One kind of session, begun and ended. */
interface Session {
  /** What is done, in words: `sessions of STOP_COPY`. */
  readonly what: string;
  /** How many there are at most. */
  readonly cycles: number;
  /** Begins and ends one; answers the errno of the step that failed, and the data_fd. */
  readonly turn: () => { readonly errno: string | null; readonly fd: number };
}

/** Runs many sessions; none may fail, leave something behind, or take longer than the first. */
function judgeSessions(context: CheckContext, { what, cycles: most, turn }: Session): void {
  const times: number[] = [];
  const fds: number[] = [];
  const before = openFiles(context);
  let memory = kernelMemory(context);
  const begun = performance.now();
  while (times.length < most && performance.now() - begun < TIME_MAX * most) {
    const at = performance.now();
    const { errno, fd } = turn();
    context.expect(
      errno === null,
      `number ${times.length + 1} of the ${what} goes as the ones before`,
      `a step failed with ${errno}`,
      41,
    );
    times.push(performance.now() - at);
    fds.push(fd);
    // The first sessions fill caches.
    if (times.length === SAMPLE) memory = kernelMemory(context);
    if (times.length % SAMPLE === 0 && isSlower(times)) break;
  }
  const cycles = times.length;
  context.step(`${cycles} ${what}`);
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
  const memoryAfter = kernelMemory(context);
  for (const { kind, left } of MEMORY) {
    const now = memoryAfter[kind] ?? 0;
    const kept = now - (memory[kind] ?? now);
    const allowed = left * cycles + SLACK_BYTES;
    context.prefer(
      cycles < SAMPLE * GROWING || kept < allowed,
      `the kernel keeps at most ${allowed} bytes more of ${kind} memory after them`,
      `it keeps ${kept} bytes more after ${cycles} sessions`,
      41,
    );
  }
  context.prefer(
    !isSlower(times),
    "a session takes as long as the first ones",
    `the fastest of the first ${SAMPLE} took ${
      fastest(times.slice(0, SAMPLE)).toFixed(1)
    } ms, that ` +
      `of the last ${SAMPLE} ${fastest(times.slice(-SAMPLE)).toFixed(1)} ms`,
    140,
  );
}

/** A session that begins with pre-copy, or with STOP_COPY. */
function saving(context: CheckContext, state: number): Session["turn"] {
  const { v2 } = context;
  return () => {
    const { errno, dataFd } = v2.set(state);
    if (errno !== null) return { errno, fd: dataFd };
    v2.read(dataFd, 4096);
    v2.close(dataFd);
    v2.enter(RUNNING);
    return { errno: null, fd: dataFd };
  };
}

/** The checks of limits. */
export const LIMIT_CHECKS: readonly Check[] = [
  defineCheck({
    id: "v2.limits.sessions",
    group,
    rules: [rule(41), rule(140)],
    needs: { protocol: "v2" },
    run: (context) =>
      judgeSessions(context, {
        what: "sessions of STOP_COPY",
        cycles: CYCLES,
        turn: saving(context, STOP_COPY),
      }),
  }),
  defineCheck({
    id: "v2.limits.precopy-sessions",
    group,
    rules: [rule(41), rule(140)],
    needs: { protocol: "v2", flags: VFIO_MIGRATION_PRE_COPY },
    run: (context) =>
      judgeSessions(context, {
        what: "sessions of PRE_COPY",
        cycles: FEWER_CYCLES,
        turn: saving(context, PRE_COPY),
      }),
  }),
  defineCheck({
    id: "v2.limits.restores",
    group,
    safety: "reset",
    rules: [rule(41), rule(140)],
    needs: { protocol: "v2" },
    run: (context) => {
      const { v2 } = context;
      const own = v2.save();
      judgeSessions(context, {
        what: "restores",
        cycles: FEWER_CYCLES,
        turn: () => {
          const { errno: refused, dataFd } = v2.set(RESUMING);
          if (refused !== null) return { errno: refused, fd: dataFd };
          const written = v2.writeAll(dataFd, own);
          const { errno } = v2.set(RUNNING);
          v2.close(dataFd);
          return { errno: written ?? errno, fd: dataFd };
        },
      });
    },
  }),
  defineCheck({
    id: "v2.limits.resets",
    group,
    safety: "reset",
    rules: [rule(41), rule(140)],
    needs: { protocol: "v2", resettable: true },
    run: (context) => {
      const { v2 } = context;
      let turns = 0;
      judgeSessions(context, {
        what: "resets out of STOP_COPY and RESUMING",
        cycles: FEWER_CYCLES,
        turn: () => {
          turns += 1;
          const { errno: refused, dataFd } = v2.set(turns % 2 === 0 ? RESUMING : STOP_COPY);
          if (refused !== null) return { errno: refused, fd: dataFd };
          const errno = v2.reset();
          v2.close(dataFd);
          return { errno, fd: dataFd };
        },
      });
    },
  }),
  defineCheck({
    id: "v1.limits.sessions",
    group,
    rules: [rule(41), rule(140)],
    needs: { protocol: "v1" },
    run: (context) => {
      const { v1 } = context;
      judgeSessions(context, {
        what: "sessions of stop-and-copy",
        cycles: FEWER_CYCLES,
        turn: () => {
          const errno = v1.set(STOP_AND_COPY) ?? (v1.iterate(), v1.set(V1_RUNNING));
          return { errno, fd: -1 };
        },
      });
    },
  }),
  defineCheck({
    id: "v1.limits.restores",
    group,
    safety: "reset",
    rules: [rule(41), rule(140)],
    needs: { protocol: "v1" },
    run: (context) => {
      const { v1 } = context;
      const own = v1.save();
      judgeSessions(context, {
        what: "restores",
        cycles: FEWER_CYCLES,
        turn: () => {
          const errno = v1.set(V1_RESUMING) ?? v1.giveAll(own) ?? v1.set(V1_RUNNING);
          return { errno, fd: -1 };
        },
      });
    },
  }),
];

/** The fastest counts: another program may hold up any of the others. */
function fastest(times: readonly number[]): number {
  return Math.min(...times);
}

/** Whether sessions take longer and longer; a busy machine makes some of them slower, not all. */
function isSlower(times: readonly number[]): boolean {
  const blocks = Array.from(
    { length: Math.floor(times.length / SAMPLE) },
    (_, block) => fastest(times.slice(block * SAMPLE, (block + 1) * SAMPLE)),
  );
  const [first, last] = [blocks[0] ?? 0, blocks.at(-1) ?? 0];
  const grows = blocks.slice(-GROWING).every((value, at, all) => at === 0 || value > all[at - 1]!);
  return blocks.length >= GROWING && grows && last > SLOWER * first && last - first > SLOWER_MS;
}
