/**
 * The faults of a simulated device: parses them (`fault=NAME[:…]`), and keeps the
 * plan that decides when they strike.
 */

import { ERRNO, type ErrnoName } from "../../kernel/errno_names.ts";
import { VFIO_MIGRATION_PRE_COPY } from "../../uapi/constants.ts";
import { type FaultEvent, type FaultName, FAULTS } from "./fault_table.ts";
import { parseDuration } from "../units.ts";
import { V2_DRIVERS, type V2Driver } from "../v2_drivers.ts";
import { PERSONALITIES, type PersonalityName } from "../personalities.ts";

export { type FaultEvent, type FaultName, FAULTS } from "./fault_table.ts";

/** One fault of a plan. */
export interface Fault {
  /** Its name. */
  readonly name: FaultName;
  /** Which occurrence of the event, counting from 1; Infinity for `always`. */
  readonly n: number;
  /** The errno, if it has one. */
  readonly errno: ErrnoName;
  /** The duration in milliseconds, if it has one. */
  readonly ms: number;
}

/**
 * Parses one fault, `NAME[:…]`.
 *
 * @throws {RangeError} If it is wrong. The message says what is wrong, and what is allowed.
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
  const errno = (field = ""): ErrnoName => {
    if (Object.hasOwn(ERRNO, field)) return field as ErrnoName;
    if (field === "") return bad();
    throw new RangeError(
      `${JSON.stringify(field)} in ${JSON.stringify(text)} is not a known errno`,
    );
  };
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
    case "DURATION[:N|always]":
      return {
        ...made,
        ms: parseDuration(first ?? "") ?? bad(),
        n: second === undefined ? 1 : second === "always" ? Infinity : number(second),
      };
  }
}

/**
 * Faults that ice cannot have: every data read decreases its pending_bytes, whatever is read;
 * its device_state reads 0 at open anyway, and has no bits beyond the three; its data always lies
 * at offset 32.
 */
const NOT_OF_ICE: readonly FaultName[] = [
  ...["stuck", "pending-grows", "stop-at-open", "reserved-lost", "offset-unaligned"] as const,
];

/** Whether a personality can have a fault. A fault that could never strike is a mistake. */
export function canHave(personality: PersonalityName, fault: FaultName): boolean {
  const { to } = FAULTS[fault];
  const { protocol, mdev } = PERSONALITIES[personality];
  // A mediated device is not behind an IOMMU.
  if (to === "function") return mdev === null;
  if (to === "any") return true;
  if (protocol === null || (to !== "migratable" && to !== protocol)) return false;
  switch (personality) {
    case "ice":
      return !NOT_OF_ICE.includes(fault);
    case "trapped":
    case "partitioned":
      return fault !== "offset-unaligned";
    case "nvidia-vgpu":
      // Its data_size always reads 0.
      return FAULTS[fault].event !== "size-read";
    default: {
      const driver = V2_DRIVERS[personality];
      return driver === undefined || v2CanHave(driver, fault);
    }
  }
}

function v2CanHave(
  { flags, precopy, drained, dataSize, log }: V2Driver,
  fault: FaultName,
): boolean {
  const preCopy = (flags & VFIO_MIGRATION_PRE_COPY) !== 0;
  switch (fault) {
    case "never-drains":
      return preCopy && precopy === "images";
    case "initial-never-zero":
    case "initial-zero":
    case "initial-stays":
    case "dirty-first":
    case "precopy-flags":
    case "precopy-info":
      return preCopy;
    case "drained-zero":
      return preCopy && drained !== null;
    case "data-size-zero":
    case "data-size-small":
      return dataSize;
    case "log-start":
    case "log-report":
    case "log-stop":
    case "log-error":
    case "no-log-report":
      return log !== null;
    default:
      return true;
  }
}

/** The syntax of a fault, such as `transition:N:ERRNO`. */
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

/** Faults that strike the first N times, not only the Nth time. */
const FROM_THE_FIRST: readonly FaultName[] = [
  ...["data-size-zero", "node-late", "device-late", "reset-ignored"] as const,
];

/** The faults of one device, and how often each event has happened. */
export class FaultPlan {
  readonly #standing: ReadonlyMap<FaultName, Fault>;
  readonly #waiting: Map<FaultEvent, Waiting> = new Map();

  /** Creates a plan of these faults. */
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

  /** A fault that holds all the time, if the device has it. */
  standing(name: FaultName): Fault | undefined {
    return this.#standing.get(name);
  }

  /** Counts an event, and returns the faults that strike now. */
  due(event: FaultEvent): readonly Fault[] {
    const waiting = this.#waiting.get(event);
    if (waiting === undefined) return NONE;
    waiting.count += 1;
    return waiting.faults.filter(({ name, n }) =>
      n === Infinity || (FROM_THE_FIRST.includes(name) ? waiting.count <= n : waiting.count === n)
    );
  }
}
