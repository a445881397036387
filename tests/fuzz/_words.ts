/**
 * Random command lines, from the command table itself: a command or an option that is added there
 * joins by itself.
 */

import type { UsageTerm } from "@optique/core/usage";
import type { Command } from "../../cli/specs/command.ts";
import { COMMANDS } from "../../cli/specs/commands.ts";
import type { Random } from "./_random.ts";
import { makeFault, nameOf, type Spec } from "./_specs.ts";

/** Stands for the try's folder in a word. */
export const FOLDER = "{folder}";

/** What there is in it to be read. */
export const INPUTS = ["good.vfk", "bad.vfk", "samples.jsonl", "empty", "folder", "link"] as const;

/** The name of one of them. */
export type Input = (typeof INPUTS)[number];

/** What a command line may write to. */
export const OUTPUTS = ["new.vfk", "out.txt", "out.html"] as const;

/** A command line, with what has to be known about it afterwards. */
export interface Line {
  /** The command's name. */
  readonly command: string;
  readonly words: readonly string[];
  /** The devices in it, in their order; null where one of the words for a device is none. */
  readonly devices: readonly Spec[] | null;
}

const ABSURD: readonly string[] = [
  ...["", "-1", "0", "99999999999999999999", "x", "0x", "1e9", "nan", "--", "\u001b[2J\u0007"],
  ...["é", "%00", "..", "null", "true", "0x10000000000000000", "{}", "-h", "1,5MiB", " 1"],
];

const DEVICES: readonly string[] = [
  ...["sim:", "sim:nope", "sim:trapped?size=0", "sim:trapped?size=4KiB&size=4KiB", "fd:9999"],
  ...["sim:trapped?fault=read:0:EIO", "sim:mlx5?fault=stuck", "sim:trapped?\u001b[31m=1", "fd:-1"],
  ...["0000:3b:00.1", "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001", "/sys/bus/pci", "/etc/passwd"],
  ...["/dev/vfio/devices/vfio7", "vfio7", "sim:none?cdev=2", "ffff:ff:1f.7", "/sys/\u0007"],
];

/** What may stand for an option's value, or a metavariable, on a good day. */
const PLAUSIBLE: Readonly<Record<string, readonly string[]>> = {
  "UUID": ["83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"],
  "WAY": ["cdev", "group", "auto"],
  "FD": ["3", "7", "100"],
  "ID": ["1", "2"],
  "--quirk": ["ice", "nvidia-vgpu"],
  "--tracker": ["type1", "device", "iommufd", "auto"],
  "NAME": ["vfio_device_info", "vfio_precopy_info"],
  "WHAT": ["reset", "leave"],
  "STATE": ["running", "stop", "stopped", "pre-copy", "stop-and-copy", "resuming", "running-p2p"],
  "HOW": ["zstd", "sha256"],
  "BYTES": ["0", "4096", "64KiB", "1.5MiB", "16TiB"],
  "TIME": ["1ms", "5ms", "20ms", "0ms"],
  "N": ["1", "2", "5"],
  "RATE": ["10Gbit", "1KB", "400MiB"],
  "IOVA:SIZE": ["0x100000:64KiB", "0:4KiB", "0x100000:1MiB", "0xfee00000:4KiB", "4096:12288"],
  "IOVA": ["0x100000", "0", "4096"],
  "SIZE": ["64KiB", "4096", "0x1000"],
  "FORMAT": ["ranges", "bitmap", "json"],
  "COMMAND": ["true", "false", "no-such-program", "sh"],
};

/** Makes command lines of the devices and files of a try. */
class LineMaker {
  readonly #random: Random;
  readonly #base: Spec;
  readonly #stdin: boolean;
  readonly devices: Spec[] = [];
  allDevices = true;
  #end = 0x100000;

  constructor(random: Random, base: Spec, stdin: boolean) {
    this.#random = random;
    this.#base = base;
    this.#stdin = stdin;
  }

  words(terms: readonly UsageTerm[]): string[] {
    return terms.flatMap((term) => this.#term(term));
  }

  #term(term: UsageTerm): string[] {
    const random = this.#random;
    switch (term.type) {
      case "optional":
        return random.chance(this.#likely(term.terms)) ? this.words(term.terms) : [];
      case "multiple": {
        if (term.min === 0 && !random.chance(this.#likely(term.terms))) return [];
        const times = random.chance(0.95) ? random.few(Math.max(1, term.min), 3) : term.min;
        return Array.from({ length: times }, () => this.words(term.terms)).flat();
      }
      case "exclusive":
        return this.words(random.pick(term.terms));
      case "sequence":
        return this.words(term.terms);
      case "literal":
      case "command":
        return [term.type === "literal" ? term.value : term.name];
      case "option": {
        if (random.chance(0.02)) return [];
        const name = random.pick(term.names);
        if (term.metavar === undefined) return [name];
        const value = this.#value(term.metavar, name);
        return random.chance(0.1) && name.startsWith("--") ? [`${name}=${value}`] : [name, value];
      }
      case "argument":
        if (random.chance(0.02)) return [];
        return [this.#value(term.metavar, "")];
      default:
        return [];
    }
  }

  /** What waits, or is refused by every simulated device, is rarer. */
  #likely(terms: readonly UsageTerm[]): number {
    const [first] = terms;
    if (first?.type === "sequence") return 0.04;
    if (first?.type !== "option") return 0.5;
    const names = first.names.join(" ");
    if (/--(after|rounds|every)/.test(names)) return 0.9;
    if (/--(group|container|iommufd)-fd|--ioas|--vf-token|--hold|--mapping/.test(names)) {
      return 0.03;
    }
    if (names === "--map") return 0.95;
    return /--(json|force)/.test(names) ? 0.5 : 0.15;
  }

  #value(metavar: string, option: string): string {
    const random = this.#random;
    if (metavar === "DEVICE" || metavar.startsWith("DEVICE...")) return this.#device();
    if (random.chance(0.06)) return random.pick(ABSURD);
    if (option === "--map" && random.chance(0.8)) return this.#range();
    if (metavar === "FILE") return this.file(option !== "");
    return random.pick(PLAUSIBLE[option] ?? PLAUSIBLE[metavar] ?? ABSURD);
  }

  /** A range behind the last one. */
  #range(): string {
    const at = this.#end;
    const size = this.#random.pick([0x1000, 0x8000, 0x10000, 0x100000]);
    this.#end += size + this.#random.pick([0, 0x1000, 0x10000]);
    return `0x${at.toString(16)}:${size}`;
  }

  #device(): string {
    const random = this.#random;
    if (random.chance(0.08)) {
      this.allDevices = false;
      return random.pick(random.chance(0.8) ? DEVICES : ABSURD);
    }
    const faults = Array.from(
      { length: random.chance(0.5) ? 0 : random.few(1, 3) },
      () => makeFault(random, this.#base.personality),
    );
    const spec = { ...this.#base, faults };
    this.devices.push(spec);
    return nameOf(spec);
  }

  /** A file to write, or to read. */
  file(output: boolean): string {
    const random = this.#random;
    if (random.chance(output || this.#stdin ? 0.15 : 0)) return "-";
    if (random.chance(0.05)) return random.pick(["/dev/null", "/dev/full", "/proc/self/mem"]);
    const names = random.chance(0.9) === output ? OUTPUTS : INPUTS;
    // Of all that there is to read a good checkpoint is the most worthwhile.
    const name = names === INPUTS && random.chance(0.6) ? INPUTS[0] : random.pick(names);
    return `${FOLDER}/${name}`;
  }
}

/** Commands with many ways to go. */
const WORTHWHILE = /^(save|restore|state|dirty .*|unmap|verify|show)$/;

/** A random command line; `stdin` is whether there is something to read there. */
export function makeLine(random: Random, base: Spec, stdin: boolean): Line {
  // Half of the time one of those that do the most.
  const [one, other] = [random.pick(COMMANDS), random.pick(COMMANDS)];
  const command: Command = WORTHWHILE.test(one.name) || random.chance(0.3) ? one : other;
  const maker = new LineMaker(random, base, stdin);
  const { usage } = command.args;
  const [tail, rest] = [usage.filter(isTail), usage.filter((term) => !isTail(term))];
  const words = maker.words(rest);
  // What takes devices and a file in one has the file last.
  if (JSON.stringify(usage).includes("DEVICE... FILE")) words.push(maker.file(false));
  if (random.chance(0.05)) words.splice(random.below(words.length + 1), 0, random.pick(ABSURD));
  if (random.chance(0.02)) words.push(random.pick(["--nope", "-z", "--help", "--version"]));
  words.push(...maker.words(tail));
  return {
    command: command.name,
    words: [...command.name.split(" "), ...words],
    devices: maker.allDevices ? maker.devices : null,
  };
}

/** Whether a term is that of a program to run, which takes all that follows it. */
function isTail(term: UsageTerm): boolean {
  return term.type === "sequence" || term.type === "optional" && term.terms.some(isTail);
}
