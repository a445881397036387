/**
 * Devices of another process: `attach:PATH` and `attach:fd:N`.
 *
 * @module
 */

import type { OpenOptions } from "../../mod.ts";
import { demandPagemapScan } from "../../src/dirty/mod.ts";
import { libcKernel } from "../../src/kernel/mod.ts";
import {
  AttachedOwner,
  type Attachment,
  type AttachOptions,
  type OwnerOptions,
  type OwnersDevice,
} from "../../src/live/mod.ts";
import type { Context } from "../context.ts";
import { UsageError } from "../usage_error.ts";
import type { OpenArgs } from "./open_devices.ts";

/** The parsed options that an owner makes pointless, or that need one. */
export interface AttachArgs extends OpenArgs {
  /** `--map`. */
  readonly map: NonNullable<OpenOptions["maps"]>;
  /** `--owner-writes`. */
  readonly ownerWrites?: OwnerOptions["ownerWrites"];
  /** `--on-no-converge`. */
  readonly onNoConverge?: "fail" | "stop" | "throttle" | undefined;
  /** `-- COMMAND`. */
  readonly command?: readonly string[] | undefined;
}

/** A device's owner, and the words by which the device is opened here. */
export interface Attached extends Disposable {
  /** The owner; null if the devices are opened by their names. */
  readonly owner: AttachedOwner | null;
  /** The devices' names. */
  readonly names: readonly string[];
  /** How to open them besides. */
  readonly options: OpenOptions;
}

/** What is offered where there is no owner. */
const NOTHING_OFFERED = { dirty: false, protectedMemory: null, throttle: false };

const NAME = /^attach:(?:fd:(\d{1,9})|(.+))$/s;

/**
 * Attaches to the owner of a device, if it is another process's.
 *
 * @throws {UsageError} If the options do not fit that.
 * @throws {LiveError} If the owner cannot be reached, or does not speak the protocol.
 */
export async function attach(
  names: readonly string[],
  args: AttachArgs,
  purpose: AttachOptions["purpose"],
  context: Context,
): Promise<Attached> {
  // Before the owner is asked for anything.
  if (args.ownerWrites === "protect") demandPagemapScan(libcKernel());
  const found = names.map((name) => NAME.exec(name));
  const first = found.findIndex((match) => match !== null);
  if (first < 0) {
    // A program that migrate runs says later what it offers.
    const later = purpose === "migrate" && args.command !== undefined;
    if (!later) demandOffered(args, NOTHING_OFFERED);
    return { owner: null, names, options: {}, [Symbol.dispose]: () => {} };
  }
  if (names.length > 1) {
    throw new UsageError(`Cannot use "${names[first]!}" with another device: it is attached alone`);
  }
  if (args.map.length > 0 || args.command !== undefined) {
    const option = args.command === undefined ? "--map" : "-- COMMAND";
    throw new UsageError(
      `Cannot use ${option} with "${names[0]!}": its owner has device and memory`,
    );
  }
  if (args.groupFd !== undefined || args.containerFd !== undefined) {
    throw new UsageError(`Cannot use --group-fd or --container-fd with "${names[0]!}"`);
  }
  const [, fd, path] = found[0]!;
  const options = { purpose, signal: context.signal };
  const owner = fd === undefined
    ? await AttachedOwner.connect(path!, options)
    : await AttachedOwner.over(Number(fd), options);
  try {
    const attachment = await owner.attached();
    demandOffered(args, attachment);
    const device = attachment.device!;
    return {
      owner,
      names: [`fd:${device.device}`],
      options: openedBy(device),
      [Symbol.dispose]: () => owner[Symbol.dispose](),
    };
  } catch (error) {
    owner.tell("failed", (error as Error).message);
    owner[Symbol.dispose]();
    throw error;
  }
}

/** Does some work with a device; its owner is told if that fails. */
export async function tellingOwner<Value>(
  owner: AttachedOwner | null,
  work: () => Promise<Value>,
): Promise<Value> {
  try {
    return await work();
  } catch (error) {
    const { code, message } = error as { code?: unknown; message: string };
    owner?.tell(code === "in-doubt" ? "in-doubt" : "failed", message);
    throw error;
  }
}

function openedBy({ group, container, iommufd, ioas, mappings }: OwnersDevice): OpenOptions {
  return {
    groupFd: group ?? undefined,
    containerFd: container ?? undefined,
    iommufdFd: iommufd ?? undefined,
    ioasId: ioas ?? undefined,
    mappings,
  };
}

/**
 * Refuses what the owner does not offer.
 *
 * @throws {UsageError} If it is asked for.
 */
export function demandOffered(
  { ownerWrites, onNoConverge }: Pick<AttachArgs, "ownerWrites" | "onNoConverge">,
  { dirty, protectedMemory, throttle }: Omit<Attachment, "device">,
): void {
  const option = ownerWrites === "reported" && !dirty
    ? "--owner-writes reported"
    : ownerWrites === "protect" && protectedMemory === null
    ? "--owner-writes protect"
    : onNoConverge === "throttle" && !throttle
    ? "--on-no-converge throttle"
    : null;
  if (option === null) return;
  const other = option.startsWith("--owner-writes") ? "; --owner-writes compare needs none" : "";
  throw new UsageError(
    `Cannot use ${option}: no owner of the device offers it (attach:PATH)${other}`,
  );
}
