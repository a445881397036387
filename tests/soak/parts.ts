/**
 * What `deno task soak` runs: a list of parts, each a few programs. To add one, add it here.
 *
 * @module
 */

/** A program: which runtime, which file of the project, its arguments. */
export interface Program {
  /** What runs it. */
  readonly runtime: "deno" | "bun";
  /** The file, from the project's folder on. */
  readonly file: string;
  /** Its arguments. */
  readonly args: readonly string[];
}

/** A part, which passes if all of its programs exit with 0. */
export interface Part {
  /** Its name on the command line. */
  readonly name: string;
  /** What it does, in a line. */
  readonly text: string;
  /** Its programs, run one after the other; the last line of each is its result. */
  readonly programs: readonly [Program, ...Program[]];
}

const deno = (file: string, ...args: readonly string[]): Program => ({
  runtime: "deno",
  file,
  args,
});
const bun = (file: string, ...args: readonly string[]): Program => ({ runtime: "bun", file, args });

/** How long each fuzz campaign runs, in seconds. */
const FUZZ_SECONDS = "3600";

/** All parts, in the order in which they run. */
export const PARTS: readonly Part[] = [
  {
    name: "mutants",
    text: "every simulated driver with every bug that it can have, judged by all checks",
    programs: [deno("tests/soak/mutants.ts")],
  },
  {
    name: "limits",
    text: "the checks of limits, ten times in a row on one device",
    programs: [deno("tests/soak/limits.ts"), bun("tests/soak/limits.ts")],
  },
  {
    name: "kills",
    text: "a thousand migrations whose sides are killed at random steps",
    programs: [deno("tests/soak/kills.ts"), bun("tests/soak/kills.ts")],
  },
  {
    name: "fuzz",
    text: "an hour of fuzzing in Deno, and one in Bun",
    programs: [
      deno("tests/fuzz/main.ts", "--seconds", FUZZ_SECONDS),
      bun("tests/fuzz/main.ts", "--seconds", FUZZ_SECONDS),
    ],
  },
  {
    name: "lab",
    text: "all cases on all kernels of Debian's releases, the guest driver's bugs included",
    programs: [deno("tests/lab/main.ts", "--kernel", "all", "--long", "--timeout", "7200")],
  },
  {
    name: "lab-guests",
    text:
      "devices that move from one guest to another, on 6.1, 6.12 and the kernel that is built here",
    programs: [
      deno("tests/lab/main.ts", "--kernel", "6.1,6.12,6.12-iommufd", "--guests", "2"),
    ],
  },
  {
    name: "lab-iommufd",
    text: "all cases on the kernel that is built here, with iommufd",
    programs: [
      deno("tests/lab/main.ts", "--kernel", "6.12-iommufd", "--long", "--timeout", "7200"),
    ],
  },
];

/**
 * The parts of these names, each once, in the order of {@linkcode PARTS}; all if there is none.
 *
 * @throws {TypeError} If a name is unknown.
 */
export function chosenParts(names: readonly string[]): readonly Part[] {
  const known = PARTS.map(({ name }) => name);
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new TypeError(`Cannot run the part "${unknown}": there is ${known.join(", ")}`);
  }
  return PARTS.filter(({ name }) => names.length === 0 || names.includes(name));
}
