/**
 * How long devices stood still, and how pre-copy went, for people.
 *
 * @module
 */

import type { TransferReport } from "../../mod.ts";
import { bytes, count, shortTime, time } from "./format.ts";

type DeviceReport = TransferReport["devices"][number];
type Part = NonNullable<DeviceReport["downtime"]>["parts"][number];
type Precopy = NonNullable<DeviceReport["precopy"]>;

const ENDS: Readonly<Record<Precopy["ended"], string>> = {
  threshold: "as few bytes were pending as the threshold allows",
  downtime: "the rest could be read within the downtime",
  rounds: "it had made as many rounds as it may",
  time: "its time was over",
  "not-converging": "the device changes its state as fast as it is read",
  drained: "the driver had nothing more to give",
  "no-estimate": "the driver does not tell how much is pending",
};

/** What pre-copy did and the downtime of each device, one line each. */
export function timeLines({ devices, downtimeSeconds }: TransferReport): string[] {
  const several = devices.length > 1;
  const all = !several || downtimeSeconds === null
    ? []
    : [`At least one device stood still for ${time(downtimeSeconds)}.`];
  return [
    ...devices.flatMap(({ name, precopy, downtime }, number) => {
      const who = several ? `Device ${number}, ${name},` : "The device";
      return [
        ...(precopy === null ? [] : [precopyWords(several ? `${number} ${name}: ` : "", precopy)]),
        ...(downtime === null ? [] : [`${who} ${standstillWords(downtime)}`]),
      ];
    }),
    ...all,
  ];
}

/** How pre-copy went; `who` comes first. */
export function precopyWords(who: string, { rounds, ended, pending }: Precopy): string {
  const left = pending === null ? "" : `, ${bytes(pending)} pending`;
  return `${who}Pre-copy ended after ${count(rounds.length, "round")}${left}: ${ENDS[ended]}.`;
}

/** How long a device stood still, and where that time went: `stood still for …`. */
export function standstillWords(downtime: NonNullable<DeviceReport["downtime"]>): string {
  const { seconds } = downtime;
  const spent = standstillParts(downtime);
  return seconds === null ? `is stopped: ${spent}.` : `stood still for ${time(seconds)}: ${spent}.`;
}

/** The parts of the time that a device stood still. */
export function standstillParts({ parts }: NonNullable<DeviceReport["downtime"]>): string {
  return parts.filter((part) => part.seconds > 0).map(partWords).join(", ");
}

function partWords({ kind, state, to, seconds }: Part): string {
  const what = kind === "arc"
    ? `${state} → ${to}`
    : kind === "wait"
    ? `in ${state}`
    : kind.replace("-", " ");
  return `${what} ${shortTime(seconds * 1e6)}`;
}
