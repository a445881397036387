/**
 * Random simulated devices, from the simulator's own tables: what is added there joins by itself.
 */

import { ERRNO, type ErrnoName } from "../../src/kernel/errno_names.ts";
import { canHave, type FaultName, FAULTS } from "../../src/sim/faults/fault_plan.ts";
import { PERSONALITIES, type PersonalityName } from "../../src/sim/personalities.ts";
import { V2_DRIVERS } from "../../src/sim/v2_drivers.ts";
import { VFIO_MIGRATION_PRE_COPY } from "../../src/uapi/mod.ts";
import type { Random } from "./_random.ts";

/** A simulated device in parts, so that parts can be left out. */
export interface Spec {
  readonly personality: PersonalityName;
  /** `size=64KiB`, … */
  readonly options: readonly string[];
  /** `read:1:EIO`, … */
  readonly faults: readonly string[];
}

/** Its name. */
export function nameOf({ personality, options, faults }: Spec): string {
  const parts = [...options, ...faults.map((fault) => `fault=${fault}`)];
  return `sim:${personality}${parts.length === 0 ? "" : "?"}${parts.join("&")}`;
}

/** The same device with nothing wrong, whose state nobody changes. */
export function cleanName({ personality, options }: Spec, seed: number): string {
  const still = options.filter((option) => !/^(rate|seed|dma|pin)=/.test(option));
  return nameOf({ personality, options: [...still, `seed=${seed}`], faults: [] });
}

const NAMES = Object.keys(PERSONALITIES) as PersonalityName[];
const ERRNOS = Object.keys(ERRNO) as ErrnoName[];
/** Those that drivers are known for. */
const USUAL: readonly ErrnoName[] = ["EIO", "EAGAIN", "EINTR", "ENODEV", "EFAULT", "EBUSY"];

/** Every personality, or those that migrate. */
export function pickPersonality(random: Random, migrates: boolean): PersonalityName {
  const names = NAMES.filter((name) => !migrates || PERSONALITIES[name].protocol !== null);
  return random.pick(names);
}

/** A fault that this device can have. */
export function makeFault(random: Random, personality: PersonalityName): string {
  const able = (Object.keys(FAULTS) as FaultName[]).filter((name) => canHave(personality, name));
  // Of most that hold all the time nothing more than opening can be tried.
  const first = random.pick(able);
  const name = FAULTS[first].event === null ? random.pick(able) : first;
  const field = (form: string): string => {
    switch (form) {
      case "N":
        return String(random.few(1, 12));
      case "ERRNO":
        return random.pick(random.chance(0.6) ? USUAL : ERRNOS);
      case "DURATION":
        return `${random.few(1, 40)}ms`;
      default:
        throw new Error(`Cannot make a fault's ${form}: nobody has said what it is like`);
    }
  };
  // The forms are N, ERRNO and DURATION with `:` between, alternatives behind `|`, and in
  // brackets what may be left out.
  let form: string = FAULTS[name].form;
  form = random.chance(0.5) ? form.replace(/\[.*\]/, "") : form.replace(/[[\]]/g, "");
  if (form === "") return name;
  const fields = form.split(":").filter((part) => part !== "").map((part) => {
    const choice = random.pick(part.split("|"));
    return choice === choice.toLowerCase() ? choice : field(choice);
  });
  return [name, ...fields].join(":");
}

/** A device; its state is small, so that much can be tried in little time. */
export function makeSpec(
  random: Random,
  { migrates = true, faults = random.few(0, 4), cdev = random.chance(0.3) } = {},
): Spec {
  const personality = pickPersonality(random, migrates && random.chance(0.97));
  const { protocol } = PERSONALITIES[personality];
  const pages = random.chance(0.9) ? random.few(1, 64) : random.few(64, 800);
  const options = [`size=${4 * pages}KiB`];
  if (personality !== "ice" && protocol !== null && random.chance(0.6)) {
    const sizes = [64, 100, 4096, 5000, 65536, 2 ** 20, 2 ** 21 + 8];
    // So small a transaction of so large a state takes its time.
    const least = 4096 * pages / 2000;
    options.push(`chunk=${random.pick(sizes.filter((size) => size >= least))}`);
  }
  if (random.chance(0.3)) options.push(`rate=${random.pick(["4KiB", "1MiB", "64MiB", "4GiB"])}`);
  if (random.chance(0.2)) options.push(`seed=${random.u32()}`);
  const preCopy = ((V2_DRIVERS[personality]?.flags ?? 0) & VFIO_MIGRATION_PRE_COPY) !== 0;
  if (preCopy && random.chance(0.2)) options.push(`reinit=${random.few(0, 4)}`);
  if (random.chance(0.1)) options.push(`memlock=${random.pick([0, 4096, 65536])}`);
  if (cdev) options.push("cdev=1");
  const plan = Array.from({ length: faults }, () => makeFault(random, personality));
  return { personality, options, faults: plan };
}

/** Specs with less in them. */
export function* smallerSpecs(spec: Spec): Generator<Spec> {
  for (let index = 0; index < spec.faults.length; index++) {
    yield { ...spec, faults: spec.faults.toSpliced(index, 1) };
  }
  for (let index = 0; index < spec.options.length; index++) {
    yield { ...spec, options: spec.options.toSpliced(index, 1) };
  }
  const size = spec.options.findIndex((option) => option.startsWith("size="));
  if (size >= 0) {
    for (const small of ["size=4KiB", "size=16KiB", "size=64KiB"]) {
      if (spec.options[size] !== small) {
        yield { ...spec, options: spec.options.with(size, small) };
      }
    }
  }
}
