// The C names of flags, states and features, from the tables of src/uapi.

import {
  CONSTANTS,
  isError,
  valid,
  VFIO_DEVICE_STATE_MASK,
  VFIO_DEVICE_STATE_V1_RESUMING,
  VFIO_DEVICE_STATE_V1_RUNNING,
  VFIO_DEVICE_STATE_V1_SAVING,
} from "../../uapi/mod.ts";

const FLAGS = new Map<string, readonly (readonly [name: string, bit: number])[]>();

/** The single-bit constants whose names begin with a prefix. */
function bits(prefix: string): readonly (readonly [string, number])[] {
  let found = FLAGS.get(prefix);
  if (found === undefined) {
    found = Object.entries(CONSTANTS)
      .filter(([name, value]) =>
        name.startsWith(prefix) && !name.endsWith("_MASK") && Number.isInteger(Math.log2(value))
      );
    FLAGS.set(prefix, found);
  }
  return found;
}

/** The names of the flags that are set; what has no name comes last, in hexadecimal. */
export function flagNames(prefix: string, value: bigint | number): string[] {
  let rest = BigInt(value);
  const names: string[] = [];
  for (const [name, bit] of bits(prefix)) {
    if ((rest & BigInt(bit)) === 0n) continue;
    rest &= ~BigInt(bit);
    names.push(name);
  }
  if (rest !== 0n) names.push(hex(rest));
  return names;
}

/** A number in hexadecimal, as addresses are in JSON. */
export function hex(value: bigint | number): string {
  return `0x${value.toString(16)}`;
}

function byNumber(names: readonly (readonly [string, string])[]): ReadonlyMap<number, string> {
  return new Map(names.map(([name, shown]) => [CONSTANTS[name]!, shown]));
}

const FEATURE = "VFIO_DEVICE_FEATURE_";
const FEATURES = byNumber(
  Object.keys(CONSTANTS)
    .filter((name) => name.startsWith(FEATURE) && !/_(MASK|GET|SET|PROBE)$/.test(name))
    .map((name) => [name, name.slice(FEATURE.length)]),
);

/** A feature's C name without its prefix. */
export function featureName(number: number): string {
  return FEATURES.get(number) ?? String(number);
}

const STATE = "VFIO_DEVICE_STATE_";
const V2_STATES = byNumber(
  Object.keys(CONSTANTS)
    .filter((name) => name.startsWith(STATE) && !/_(V1_.*|MASK)$/.test(name))
    .map((name) => [name, name.slice(STATE.length).toLowerCase().replaceAll("_", "-")]),
);

/** A v2 state's name; the number if it has none. */
export function v2StateName(number: number): string {
  return V2_STATES.get(number) ?? String(number);
}

const V1_STATES: ReadonlyMap<number, string> = new Map([
  [0, "stop"],
  [VFIO_DEVICE_STATE_V1_RUNNING, "running"],
  [VFIO_DEVICE_STATE_V1_SAVING, "stop-and-copy"],
  [VFIO_DEVICE_STATE_V1_SAVING | VFIO_DEVICE_STATE_V1_RUNNING, "pre-copy"],
  [VFIO_DEVICE_STATE_V1_RESUMING, "resuming"],
]);

/** The name of the state in a v1 register. */
export function v1StateName(register: number): string {
  if (isError(register)) return "error";
  if (!valid(register)) return "invalid";
  return V1_STATES.get(register & VFIO_DEVICE_STATE_MASK) ?? "invalid";
}

const EXTENSIONS: ReadonlyMap<number, string> = byNumber(
  [
    "VFIO_TYPE1_IOMMU",
    "VFIO_SPAPR_TCE_IOMMU",
    "VFIO_TYPE1v2_IOMMU",
    "VFIO_DMA_CC_IOMMU",
    "VFIO_EEH",
    "VFIO_TYPE1_NESTING_IOMMU",
    "VFIO_SPAPR_TCE_v2_IOMMU",
    "VFIO_NOIOMMU_IOMMU",
    "VFIO_UNMAP_ALL",
    "VFIO_UPDATE_VADDR",
  ].map((name) => [name, name]),
);

/** The argument of VFIO_CHECK_EXTENSION and VFIO_SET_IOMMU by name. */
export function extensionName(number: number): string {
  return EXTENSIONS.get(number) ?? String(number);
}

/** A bit of an argument that several flags may be or'ed into, for calls of libc. */
type Bit = readonly [name: string, bit: number];

/** The names of the bits that are set; what has no name comes last, in hexadecimal. */
export function bitNames(table: readonly Bit[], value: number): string[] {
  let rest = value;
  const names: string[] = [];
  for (const [name, bit] of table) {
    if ((rest & bit) !== bit) continue;
    rest &= ~bit;
    names.push(name);
  }
  if (rest !== 0) names.push(hex(rest >>> 0));
  return names;
}
