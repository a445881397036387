/**
 * TIME frames: how a phase went for a device, as the device's thread measured it. They come when
 * the phase has ended, so what the device did after its last phase is in none.
 */

import type { Phase } from "../batches/transaction.ts";
import { type Fields, parseFields, stringifyFields } from "../metadata/json_fields.ts";
import type { DowntimePart } from "../../vfio/state/standstill.ts";
import {
  PRECOPY_ENDS,
  type PrecopyReport,
  type PrecopyRound,
} from "../../vfio/state/precopy_report.ts";
import { STATES } from "../../vfio/state/states.ts";
import { FRAME_HEADER_SIZE } from "./constants.ts";

/** How a phase went for one device. */
export interface PhaseTimes {
  /** The phase. */
  readonly phase: Phase;
  /** From the change of state to the last byte. */
  readonly seconds: number;
  /** How pre-copy went; null of stop-and-copy. */
  readonly precopy: PrecopyReport | null;
  /** What the device stood still for until the phase had ended; empty of pre-copy. */
  readonly downtime: readonly DowntimePart[];
}

/** The most rounds of pre-copy in a frame: as many as a report has. */
const MAX_ROUNDS = 1000;
/** The most stretches of a standstill: a device that stops for its data takes four or five. */
const MAX_PARTS = 64;

const PHASES: readonly Phase[] = ["pre-copy", "stop-and-copy"];
const KINDS: readonly DowntimePart["kind"][] = ["arc", "first-byte", "data", "commit", "wait"];

/** A TIME frame's head, but for the frame's header. Rounds are lists: a thousand must fit. */
export function packTimeHead({ precopy, ...times }: PhaseTimes): Uint8Array<ArrayBuffer> {
  const rounds = precopy?.rounds.slice(0, MAX_ROUNDS)
    .map(({ pending, bytes, seconds }) => [pending, bytes, seconds]);
  const { phase, seconds } = times;
  const downtime = times.downtime.slice(0, MAX_PARTS);
  return stringifyFields(
    { phase, seconds, precopy: precopy && { ...precopy, rounds }, downtime },
    FRAME_HEADER_SIZE,
  );
}

/**
 * Reads a TIME frame's meta part.
 *
 * @throws {FieldError} If it makes no sense.
 */
export function parseTimes(meta: Uint8Array): PhaseTimes {
  const fields = parseFields(meta);
  return {
    phase: fields.word("phase", PHASES),
    seconds: fields.measure("seconds"),
    precopy: fields.nullable("precopy", (key) => readPrecopy(fields.fields(key))),
    downtime: fields.list("downtime", MAX_PARTS).map(readPart),
  };
}

function readPrecopy(fields: Fields): PrecopyReport {
  return {
    rounds: fields.measures("rounds", MAX_ROUNDS, 3).map(readRound),
    ended: fields.word("ended", PRECOPY_ENDS),
    pending: fields.nullable("pending", (key) => fields.measure(key)),
  };
}

function readRound([pending, bytes, seconds]: readonly number[]): PrecopyRound {
  return { pending: pending!, bytes: bytes!, seconds: seconds! };
}

function readPart(fields: Fields): DowntimePart {
  return {
    kind: fields.word("kind", KINDS),
    state: fields.word("state", STATES),
    to: fields.nullable("to", (key) => fields.word(key, STATES)),
    seconds: fields.measure("seconds"),
  };
}
