/**
 * How the runs of several kernels ended, as a table and in a line.
 *
 * @module
 */

/** What the cases tell at their end. */
export interface Result {
  /** The kernel's release: `6.1.0-50-amd64`. */
  readonly release: string;
  /** The cases that held. */
  readonly passed: number;
  /** The cases that did not. */
  readonly failed: number;
  /** The cases that cannot be shown on this kernel. */
  readonly skipped: number;
  /** The names of the cases that no other kernel has to show again. */
  readonly shown: readonly string[];
  /** What the kernel has, by name, as found by asking it. */
  readonly has: Readonly<Record<string, string>>;
}

/** How one kernel's run ended. */
export interface Outcome {
  /** What `--kernel` calls it. */
  readonly kernel: string;
  /** From the boot to the end. */
  readonly seconds: number;
  /** Whether all was well: the cases, the guest's end, its kernel's log. */
  readonly ok: boolean;
  /** What the cases told; null where they did not come to an end. */
  readonly result: Result | null;
}

/** A run that went wrong without a case that failed counts as one. */
function failures({ ok, result }: Outcome): number {
  const failed = result?.failed ?? 0;
  return ok ? failed : Math.max(failed, 1);
}

/** A table in Markdown, a row for each kernel. */
export function outcomeTable(outcomes: readonly Outcome[]): string {
  const results = outcomes.map(({ result }) => result);
  const names = [...new Set(results.flatMap((result) => Object.keys(result?.has ?? {})))];
  const heads = ["kernel", "release", "passed", "failed", "skipped", "seconds", ...names];
  const rows = outcomes.map((outcome) => {
    const { kernel, seconds, result } = outcome;
    return [
      ...[kernel, result?.release ?? "?", result?.passed ?? "?", failures(outcome)],
      ...[result?.skipped ?? "?", seconds.toFixed(0)],
      ...names.map((name) => result?.has[name] ?? "?"),
    ];
  });
  return [heads, heads.map(() => "-"), ...rows]
    .map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

/** All kernels' cases, counted. */
export function outcomeTotal(outcomes: readonly Outcome[]): string {
  const sum = (of: (outcome: Outcome) => number): number =>
    outcomes.reduce((all, outcome) => all + of(outcome), 0);
  const [passed, skipped] = (["passed", "skipped"] as const)
    .map((name) => sum(({ result }) => result?.[name] ?? 0));
  return `${passed} passed, ${sum(failures)} failed, ${skipped} skipped`;
}
