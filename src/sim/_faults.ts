/**
 * What can be made to go wrong with a simulated device: one table, and the plan
 * that says when.
 */

import { ERRNO, type ErrnoName } from "../kernel/errno.ts";
import { parseDuration } from "./_units.ts";
import type { PersonalityName } from "./personalities.ts";

/** What a fault waits for; the Nth time, it strikes. */
export type FaultEvent =
  | "state-write"
  | "state-read"
  | "data-read"
  | "data-write"
  | "offset-read"
  | "size-read"
  | "size-write"
  | "reset"
  | "map"
  | "unmap"
  | "dirty-start"
  | "dirty-get";

interface FaultKind {
  /** The event it waits for; null where it holds all the time. */
  readonly event: FaultEvent | null;
  /** What follows the name: fields with `:` between, those in brackets may be left out. */
  readonly form: "" | "N" | "[N]" | "N|always" | "ERRNO" | "N:ERRNO" | "DURATION[:N]";
  /** What happens. */
  readonly text: string;
}

/** The name of a fault. */
export type FaultName =
  | "transition"
  | "error-state"
  | "state-read"
  | "block"
  | "gone"
  | "offset-zero"
  | "lie-offset"
  | "lie-size"
  | "lie-wrap"
  | "data-size-zero"
  | "stuck"
  | "read"
  | "short-read"
  | "write"
  | "short-write"
  | "load"
  | "reset"
  | "mmap"
  | "region-size-zero"
  | "caps-loop"
  | "caps-outside"
  | "caps-odd"
  | "caps-truncated"
  | "open"
  | "group-busy"
  | "group-not-viable"
  | "type1-only"
  | "no-dirty-capability"
  | "draft-dirty-flag"
  | "map"
  | "unmap"
  | "dirty-start"
  | "dirty-get";

/** Every fault: its name in `fault=NAME[:…]`, when it strikes, what it does. */
export const FAULTS: Readonly<Record<FaultName, FaultKind>> = {
  "transition": {
    event: "state-write",
    form: "N:ERRNO",
    text: "the Nth write of device_state fails; the state stays",
  },
  "error-state": {
    event: "state-write",
    form: "N",
    text: "the Nth write of device_state fails with EIO, and the device is in ERROR (110b)",
  },
  "state-read": {
    event: "state-read",
    form: "N:ERRNO",
    text: "the Nth read of device_state fails",
  },
  "block": {
    event: "offset-read",
    form: "DURATION[:N]",
    text: "the Nth read of data_offset (default the first) returns only after so long",
  },
  "gone": {
    event: "offset-read",
    form: "N",
    text: "the device is gone from the Nth read of data_offset on: ENODEV for all but close",
  },
  "offset-zero": { event: "offset-read", form: "[N]", text: "data_offset reads 0" },
  "lie-offset": {
    event: "offset-read",
    form: "[N]",
    text: "data_offset lies outside the region",
  },
  "lie-size": {
    event: "size-read",
    form: "[N]",
    text: "data_size reaches outside the region",
  },
  "lie-wrap": {
    event: "size-read",
    form: "[N]",
    text: "data_offset + data_size is over 2^64",
  },
  "data-size-zero": {
    event: "size-read",
    form: "N|always",
    text: "data_size reads 0 in the first N iterations, or in all, though data is pending",
  },
  "stuck": { event: null, form: "", text: "pending_bytes never shrinks in stop-and-copy" },
  "read": { event: "data-read", form: "N:ERRNO", text: "the Nth pread of data fails" },
  "short-read": { event: "data-read", form: "N", text: "the Nth pread of data gives half" },
  "write": { event: "data-write", form: "N:ERRNO", text: "the Nth pwrite of data fails" },
  "short-write": { event: "data-write", form: "N", text: "the Nth pwrite of data takes half" },
  "load": { event: "size-write", form: "N:ERRNO", text: "the Nth write of data_size fails" },
  "reset": { event: "reset", form: "N:ERRNO", text: "the Nth VFIO_DEVICE_RESET fails" },
  "mmap": { event: null, form: "ERRNO", text: "mmap of the device fails" },
  "region-size-zero": { event: null, form: "", text: "the migration region has size 0" },
  "caps-loop": { event: null, form: "", text: "the region's capability chain is a loop" },
  "caps-outside": { event: null, form: "", text: "a capability lies outside the region info" },
  "caps-odd": { event: null, form: "", text: "a capability lies at an odd offset" },
  "caps-truncated": { event: null, form: "", text: "the last capability is cut off" },
  "map": { event: "map", form: "N:ERRNO", text: "the Nth VFIO_IOMMU_MAP_DMA fails" },
  "unmap": {
    event: "unmap",
    form: "N:ERRNO",
    text: "unmapping fails at the Nth mapping; those before it are gone",
  },
  "dirty-start": {
    event: "dirty-start",
    form: "N:ERRNO",
    text: "the Nth start of dirty page tracking fails",
  },
  "dirty-get": {
    event: "dirty-get",
    form: "N:ERRNO",
    text: "the Nth read of dirty pages fails",
  },
  "draft-dirty-flag": {
    event: null,
    form: "",
    text: "the IOMMU info has the flag of a draft in place of the migration capability",
  },
  "open": { event: null, form: "ERRNO", text: "open of the group fails" },
  "group-busy": { event: null, form: "", text: "somebody else has the group open" },
  "group-not-viable": {
    event: null,
    form: "",
    text: "a device of the group is bound to a host driver",
  },
  "type1-only": { event: null, form: "", text: "the IOMMU driver has TYPE1 but not TYPE1v2" },
  "no-dirty-capability": {
    event: null,
    form: "",
    text: "the IOMMU info has no migration capability",
  },
};

/** One fault of a plan. */
export interface Fault {
  /** Which. */
  readonly name: FaultName;
  /** The event's number, from 1 on; Infinity for `always`. */
  readonly n: number;
  /** The errno, where it has one. */
  readonly errno: ErrnoName;
  /** Milliseconds, where it has a duration. */
  readonly ms: number;
}

/**
 * One fault from `NAME[:…]`.
 *
 * @throws {RangeError} Saying what is wrong with it, and what would be right.
 */
export function parseFault(text: string): Fault {
  const [name, ...fields] = text.split(":") as [string, ...string[]];
  if (!Object.hasOwn(FAULTS, name)) {
    throw new RangeError(
      `no fault is named ${JSON.stringify(name)}; there are ${Object.keys(FAULTS).join(", ")}`,
    );
  }
  const kind = FAULTS[name as FaultName];
  const bad = (): never => {
    throw new RangeError(
      `${JSON.stringify(text)} is not of the form ${faultForm(name as FaultName)}`,
    );
  };
  const number = (field: string | undefined): number =>
    /^[1-9]\d{0,8}$/.test(field ?? "") ? Number(field) : bad();
  const errno = (field: string | undefined): ErrnoName =>
    Object.hasOwn(ERRNO, field ?? "") ? field as ErrnoName : bad();
  const made = { name: name as FaultName, n: 1, errno: "EIO" as ErrnoName, ms: 0 };
  const [first, second] = fields;
  const count = kind.form.replace(/[[\]]/g, "") === "" ? 0 : kind.form.includes(":") ? 2 : 1;
  if (fields.length > count) bad();
  switch (kind.form) {
    case "":
      return made;
    case "[N]":
      return first === undefined ? made : { ...made, n: number(first) };
    case "N":
      return { ...made, n: number(first) };
    case "N|always":
      return { ...made, n: first === "always" ? Infinity : number(first) };
    case "ERRNO":
      return { ...made, errno: errno(first) };
    case "N:ERRNO":
      return { ...made, n: number(first), errno: errno(second) };
    case "DURATION[:N]":
      return {
        ...made,
        ms: parseDuration(first ?? "") ?? bad(),
        n: second === undefined ? 1 : number(second),
      };
  }
}

/** Faults of anything but a migration region. */
const ELSEWHERE: readonly FaultName[] = [
  "reset",
  "open",
  "group-busy",
  "group-not-viable",
  "type1-only",
  "no-dirty-capability",
  "draft-dirty-flag",
  "map",
  "unmap",
  "dirty-start",
  "dirty-get",
];

/** Whether a kind of device can have a fault at all: one that never strikes is a mistake. */
export function canHave(personality: PersonalityName, fault: FaultName): boolean {
  switch (personality) {
    case "none":
      return ELSEWHERE.includes(fault);
    case "ice":
      // Its pending_bytes goes down with every read, whatever is read.
      return fault !== "stuck";
    case "nvidia-vgpu":
      // Its data_size reads 0 all the time.
      return FAULTS[fault].event !== "size-read";
    default:
      return true;
  }
}

/** How a fault is written: `transition:N:ERRNO`. */
export function faultForm(name: FaultName): string {
  const { form } = FAULTS[name];
  if (form === "") return name;
  return form === "[N]" ? `${name}[:N]` : `${name}:${form}`;
}

interface Waiting {
  count: number;
  readonly faults: readonly Fault[];
}

const NONE: readonly Fault[] = [];

/** The faults of one device, and how often each event has come. */
export class FaultPlan {
  readonly #standing: ReadonlyMap<FaultName, Fault>;
  readonly #waiting: Map<FaultEvent, Waiting> = new Map();

  /** A plan of these faults. */
  constructor(faults: readonly Fault[]) {
    this.#standing = new Map(
      faults.filter(({ name }) => FAULTS[name].event === null).map((fault) => [fault.name, fault]),
    );
    for (const fault of faults) {
      const { event } = FAULTS[fault.name];
      if (event === null) continue;
      const before = this.#waiting.get(event)?.faults ?? [];
      this.#waiting.set(event, { count: 0, faults: [...before, fault] });
    }
  }

  /** A fault that holds all the time. */
  standing(name: FaultName): Fault | undefined {
    return this.#standing.get(name);
  }

  /** An event has come: the faults that strike now. */
  due(event: FaultEvent): readonly Fault[] {
    const waiting = this.#waiting.get(event);
    if (waiting === undefined) return NONE;
    waiting.count += 1;
    return waiting.faults.filter(({ name, n }) =>
      name === "data-size-zero" ? waiting.count <= n : waiting.count === n
    );
  }
}
