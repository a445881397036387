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
import { AttachedOwners } from "./attached_owners.ts";
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

/** The devices' owners, and the words by which the devices are opened here. */
export interface Attached extends Disposable {
  /** The owners; null if the devices are opened by their names. */
  readonly owner: AttachedOwners | null;
  /** The devices' names. */
  readonly names: readonly string[];
  /** How to open each of them besides; undefined if they are opened by their names. */
  readonly each: readonly OpenOptions[] | undefined;
}

/** What is offered where there is no owner. */
const NOTHING_OFFERED = { dirty: false, protectedMemory: null, throttle: false };

const NAME = /^attach:(?:fd:(\d{1,9})|(.+))$/s;

/**
 * Attaches to the owners of devices, if these are other processes'.
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
    return { owner: null, names, each: undefined, [Symbol.dispose]: () => {} };
  }
  const other = names.find((_, index) => found[index] === null);
  if (other !== undefined) {
    throw new UsageError(
      `Cannot use "${names[first]!}" with "${other}": other programs own all devices, or none`,
    );
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
  const twice = names.find((name, index) =>
    found[index]![1] !== undefined && names.indexOf(name) < index
  );
  if (twice !== undefined) {
    throw new UsageError(`Cannot use "${twice}" twice: each device has a socket of its own`);
  }
  const options = { purpose, signal: context.signal };
  const owners: AttachedOwner[] = [];
  const ownNames: string[] = [];
  const owner = new AttachedOwners(owners, ownNames);
  try {
    const devices: OwnersDevice[] = [];
    for (const [index, match] of found.entries()) {
      const [, fd, path] = match!;
      const one = fd === undefined
        ? await AttachedOwner.connect(path!, options)
        : await AttachedOwner.over(Number(fd), options);
      owners.push(one);
      const attachment = await one.attached();
      demandOffered(args, attachment);
      devices.push(attachment.device!);
      const ownName = `fd:${attachment.device!.device}`;
      ownNames.push(ownName);
      // Messages about a device call it so.
      if (names.length > 1) context.note(`The device of ${names[index]!} is ${ownName} here`);
    }
    demandApart(names, devices);
    return {
      owner,
      names: ownNames,
      each: devices.map(openedBy),
      [Symbol.dispose]: () => owner[Symbol.dispose](),
    };
  } catch (error) {
    owner.tell("failed", (error as Error).message);
    owner[Symbol.dispose]();
    throw error;
  }
}

/** An owner that is told how it ended. */
export interface ToldOwner {
  /** Tells it. */
  tell(how: "committed" | "failed" | "in-doubt", reason?: string): unknown;
}

/** Does some work with devices; their owners are told if that fails. */
export async function tellingOwner<Value>(
  owner: ToldOwner | null,
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

/**
 * Refuses devices that share memory: what one's tracker finds, the other's would not.
 *
 * @throws {UsageError} If a part of a file is the memory of two devices.
 */
function demandApart(names: readonly string[], devices: readonly OwnersDevice[]): void {
  if (devices.length === 1) return;
  const parts = devices.flatMap(({ mappings }, owner) =>
    mappings.map(({ fd, offset = 0, size }) => {
      const begin = BigInt(offset);
      return { owner, file: fileOf(fd!), begin, end: begin + size };
    })
  );
  for (const one of parts) {
    const other = parts.find(({ owner, file, begin, end }) =>
      owner > one.owner && file !== null && file === one.file && begin < one.end && one.begin < end
    );
    if (other === undefined) continue;
    throw new UsageError(
      `Cannot use "${names[one.owner]!}" with "${names[other.owner]!}": they share memory`,
    );
  }
}

/**
 * The file that an fd is open on: its file system, by a mount of it, and its inode; null if the
 * kernel does not say (before Linux 5.14). Deno has no fstat for fds that it has not opened.
 */
function fileOf(fd: number): string | null {
  const kernel = libcKernel();
  const text = kernel.readText(`/proc/self/fdinfo/${fd}`);
  const [, mount] = /^mnt_id:\s*(\d+)$/m.exec(text) ?? [];
  const [, inode] = /^ino:\s*(\d+)$/m.exec(text) ?? [];
  if (inode === undefined) return null;
  // A file system is mounted in several places by bind mounts; that of memfds in none.
  const mounts = kernel.readText("/proc/self/mountinfo", 16 << 20);
  const [, device] = new RegExp(`^${mount} \\d+ (\\d+:\\d+) `, "m").exec(mounts) ?? [];
  return `${device ?? `mount ${mount}`}:${inode}`;
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
