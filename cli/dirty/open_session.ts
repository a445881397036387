/**
 * Opens a device whose dirty pages are tracked, for several commands.
 *
 * @module
 */

import {
  DirtySession,
  type DirtySessionOptions,
  MappedDevice,
  type MappedDeviceOptions,
  type TrackerName,
} from "../../src/dirty/mod.ts";
import { toServe } from "../lending/given_memory.ts";
import { refuseUnlendable } from "../lending/run_program.ts";
import { SimulatedDevices } from "../lending/simulated_devices.ts";
import type { Context } from "../context.ts";
import { refuseFds } from "../lending/open_devices.ts";
import { MemoryMap } from "./memory_map.ts";
import { UsageError } from "../usage_error.ts";
import type { IovaMapping } from "../../src/vfio/mod.ts";

/** The parsed options about the device and its memory. */
export interface SessionArgs {
  /** The device's name. */
  readonly device: string;
  /** `--map`. */
  readonly map: NonNullable<DirtySessionOptions["maps"]>;
  /** `--mapping`. */
  readonly mapping: readonly IovaMapping[];
  /** `--hugepages`. */
  readonly hugepages: boolean;
  /** `--tracker`. */
  readonly tracker: TrackerName | "auto";
  /** `--vf-token`. */
  readonly vfToken?: string | undefined;
  /** `--group-fd`. */
  readonly groupFd?: number | undefined;
  /** `--container-fd`. */
  readonly containerFd?: number | undefined;
  /** `--iommufd-fd`. */
  readonly iommufdFd?: number | undefined;
  /** `--ioas`. */
  readonly ioas?: number | undefined;
  /** `--via`. */
  readonly via?: DirtySessionOptions["via"];
  /** The program to lend device and memory to. */
  readonly command?: readonly string[] | undefined;
}

/**
 * Serves a simulated device that a program is to use, or whose memory is a file.
 *
 * @throws {UsageError} If the device cannot be lent to a program.
 */
export async function serveSimulated(args: SessionArgs): Promise<SimulatedDevices> {
  const { device, command } = args;
  if (command !== undefined) refuseUnlendable([device]);
  return await SimulatedDevices.serve(toServe([device], args));
}

/**
 * Opens a device, maps memory for it and makes a tracker, which has not started.
 *
 * @param served What {@linkcode serveSimulated} returned.
 * @throws {UsageError} If the options do not fit together.
 */
export function openSession(
  args: SessionArgs,
  { channels }: SimulatedDevices,
  { trace }: Context,
): DirtySession {
  const options = { ...mappedOptions(args), tracker: args.tracker, channel: channels[0], trace };
  return DirtySession.open(args.device, options);
}

/**
 * Opens a device and maps memory for it, without a tracker.
 *
 * @param served What {@linkcode serveSimulated} returned.
 * @throws {UsageError} If the options do not fit together.
 */
export function openMapped(
  args: SessionArgs,
  { channels }: SimulatedDevices,
  { trace }: Context,
): MappedDevice {
  return MappedDevice.open(args.device, { ...mappedOptions(args), channel: channels[0], trace });
}

function mappedOptions(args: SessionArgs): MappedDeviceOptions {
  const { device, map, mapping, hugepages, vfToken, groupFd, containerFd } = args;
  const { iommufdFd, ioas, via } = args;
  refuseFds(args, [device]);
  const borrowed = device.startsWith("fd:");
  if (mapping.length > 0 && !borrowed) {
    throw new UsageError(
      "Cannot use --mapping: it tells what the owner of a borrowed device (fd:N) mapped; use --map",
    );
  }
  if (map.length === 0 && mapping.length === 0) {
    throw new UsageError(
      "Cannot track without memory: name some by --map IOVA:SIZE" +
        (borrowed ? ", or what is mapped already by --mapping IOVA:SIZE" : ""),
    );
  }
  if ((iommufdFd === undefined) !== (ioas === undefined)) {
    throw new UsageError(
      "Cannot use --iommufd-fd without --ioas, nor --ioas without it: both name the address space",
    );
  }
  const fds = { groupFd, containerFd, iommufdFd, ioasId: ioas };
  return { maps: map, mappings: mapping, hugepages, vfToken, via, ...fds };
}

/** The memory of a session, page by page. */
export function mapOf({ mappings, tracker }: DirtySession): MemoryMap {
  return new MemoryMap(mappings, tracker.pgsize);
}

/** Reports which tracker is used, and why. */
export function tellTracker({ tracker, trackerReason }: DirtySession, context: Context): void {
  context.set({ tracker: tracker.name, trackerReason });
  if (trackerReason === null) return;
  context.note(`${trackerReason}: dirty pages are tracked by ${TRACKERS[tracker.name]}`);
}

const TRACKERS: Readonly<Record<TrackerName, string>> = {
  device: "that log",
  iommufd: "the IOMMU's page table in its iommufd",
  type1: "the type1 IOMMU",
};
