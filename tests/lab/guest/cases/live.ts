/**
 * Live migration from one device of the guest to another over a Unix socket, and checkpoints of one
 * restored into another, while the device's driver writes to its memory: afterwards memory and
 * device data are equal.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { mkdirSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  type Device,
  openDevices,
  type OpenOptions,
  stopAndCopy,
  TransferError,
} from "../../../../mod.ts";
import {
  CheckpointChain,
  connectUnix,
  migrate,
  type MigrateOptions,
  receive,
  restoreChain,
  UnixListener,
  verifyChain,
} from "../../../../src/live/mod.ts";
import { type DeviceType, type GuestDevice, lacks, withPair } from "../device.ts";
import { engineWrites, startEngine } from "../engine.ts";
import type { Case } from "../harness.ts";
import { kernelHas } from "../kernel_has.ts";
import { PlayedOwner } from "../played_owner.ts";
import { bun, expectExit, start, vfiokit } from "../programs.ts";

const MIB = 1n << 20n;
const PAGE = 4096n;
const MAPS = [{ iova: MIB, size: MIB / 2n }, { iova: 1n << 32n, size: MIB / 16n }] as const;

/** All of a stopped or running device's data. */
async function dataOf(device: Device): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const { data } of stopAndCopy(device)) parts.push(data.slice());
  return new Uint8Array(await new Blob(parts as BlobPart[]).arrayBuffer());
}

/** How long a side may take on a busy machine, in milliseconds. */
const TIMEOUT_MS = 120_000;

/** Three rounds and the stop: the device never writes so little that all would be sent. */
const THREE_ROUNDS = {
  downtimeMs: 0,
  maxRounds: 3,
  onNoConverge: "stop",
  verifyMemory: true,
  // Nothing but the device writes while it migrates: only its tracker shows what it wrote.
  ownerWrites: "none",
} as const satisfies Partial<MigrateOptions>;

async function moves(folder: string, from: GuestDevice, to: GuestDevice): Promise<void> {
  const path = join(folder, "socket");
  const journal = join(folder, "journal");
  using listener = await UnixListener.listen(path);
  await using source = await openDevices([from.uuid], { maps: MAPS, tracker: "auto" });
  const [device] = source as unknown as [Device];
  for (let page = 0n; page < 64n; page += 3n) {
    await device.writeMemory(MIB + page * 4096n, new Uint8Array(4096).fill(Number(page) + 1));
  }
  await startEngine(from, device, MAPS[0]);
  const receiving = listener.next().then((connection) =>
    receive(
      connection,
      (memory) => openDevices([to.uuid], { maps: memory[0] }),
      { journal },
    )
  );
  const report = await migrate(source, await connectUnix(path), {
    ...THREE_ROUNDS,
    journal,
    onProgress: ({ phase }) => {
      if (phase !== "pre-copy") return;
      writeFileSync(from.dmaFile, `write 0x${((1n << 32n) + 0x3000n).toString(16)} 2`);
    },
  });
  const { devices } = await receiving;
  await using _ = devices;
  const [there] = devices as unknown as [Device];
  assert.equal(report.rounds.length, 3);
  assert.ok(report.downtime.some(({ step }) => step === "verify"));
  const stamp = await there.readMemory((1n << 32n) + 0x3000n, 8);
  assert.notDeepEqual([...stamp], [0, 0, 0, 0, 0, 0, 0, 0]);
  await assertMoved(device, there, MAPS);
}

/** Compares the memory of a device that was moved, and its data, with those that it left behind. */
async function assertMoved(
  device: Device,
  there: Device,
  maps: readonly { readonly iova: bigint; readonly size: bigint }[],
): Promise<void> {
  assert.equal((await there.state()).state, "running");
  assert.equal((await device.state()).state, "stop");
  for (const { iova, size } of maps) {
    const [here, other] = [
      await device.readMemory(iova, Number(size)),
      await there.readMemory(iova, Number(size)),
    ];
    assert.equal(Buffer.compare(here, other), 0, `memory at 0x${iova.toString(16)}`);
  }
  await device.setState("running");
  assert.deepEqual(await dataOf(there), await dataOf(device));
}

/** A program that has a device open has `vfiokit migrate attach:PATH` move it. */
async function movesOfOwner(folder: string, from: GuestDevice, to: GuestDevice): Promise<void> {
  const [path, owned] = [join(folder, "socket"), join(folder, "owner")];
  const journal = join(folder, "journal");
  const [range] = MAPS;
  using listener = await UnixListener.listen(path);
  await using source = await openDevices([from.uuid], { maps: [range] });
  const [device] = source as unknown as [Device];
  await startEngine(from, device, { ...range, size: range.size / 2n });
  const attaching = PlayedOwner.at(owned);
  const moving = start([
    ...vfiokit(bun),
    ...["migrate", `attach:${owned}`, "--to", `unix:${path}`, "--journal", journal],
    ...["--downtime", "0ms", "--max-rounds", "3", "--on-no-converge", "stop"],
    ...["--verify-memory", "--timeout", "2min"],
  ]);
  const receiving = listener.next().then((connection) =>
    receive(connection, (memory) => openDevices([to.uuid], { maps: memory[0] }), {
      journal,
      timeoutMs: TIMEOUT_MS,
    })
  );
  receiving.catch(() => {});
  using owner = await attaching;
  assert.equal((await owner.hear()).type, "hello");
  const { fds, ioas, memory } = device.description;
  const given = Object.entries({ ...fds, memory: memory!.fd }).filter(([, fd]) => fd !== null);
  const places = Object.fromEntries(given.map(([key], index) => [key, index]));
  const hex = (value: bigint): string => `0x${value.toString(16)}`;
  owner.say({
    ...{ type: "attach", version: 1, ...places, ioas },
    memory: [{
      ...{ iova: hex(range.iova), size: hex(range.size), fd: places["memory"], offset: 0 },
    }],
  }, given.map(([, fd]) => fd!));
  assert.deepEqual(await owner.hear(), { type: "quiesce" });
  await device.writeMemory(range.iova + range.size - PAGE, new TextEncoder().encode("the last"));
  owner.say({ type: "quiesced" });
  assert.deepEqual(await owner.hear(), { type: "committed" });
  const { code, stderr } = await moving.ended;
  assert.equal(code, 0, stderr);
  const { devices } = await receiving;
  await using _ = devices;
  await assertMoved(device, devices[0]!, [range]);
}

/** What a page of hugetlbfs holds on x86, in bytes. */
const HUGE_PAGE = 2n << 20n;

/** Device and memory move from one file of hugetlbfs to another. */
async function movesHugePages(folder: string, from: GuestDevice, to: GuestDevice): Promise<void> {
  const huge = join(folder, "huge");
  mkdirSync(huge);
  writeFileSync("/proc/sys/vm/nr_hugepages", "2");
  await expectExit(0, ["mount", "-t", "hugetlbfs", "none", huge]);
  try {
    const map = (file: string): NonNullable<OpenOptions["maps"]>[0] => {
      const path = join(huge, file);
      writeFileSync(path, "");
      truncateSync(path, Number(HUGE_PAGE));
      return { iova: 1n << 32n, size: HUGE_PAGE, file: path };
    };
    const [here, there] = [map("here"), map("there")];
    const [path, journal] = [join(folder, "socket"), join(folder, "journal")];
    using listener = await UnixListener.listen(path);
    await using source = await openDevices([from.uuid], { maps: [here], tracker: "auto" });
    const [device] = source as unknown as [Device];
    await device.writeMemory(here.iova + HUGE_PAGE - PAGE, new TextEncoder().encode("the last"));
    await startEngine(from, device, { iova: here.iova, size: HUGE_PAGE / 8n });
    const receiving = listener.next().then((connection) =>
      receive(connection, () => openDevices([to.uuid], { maps: [there] }), {
        journal,
        timeoutMs: TIMEOUT_MS,
      })
    );
    receiving.catch(() => {});
    await migrate(source, await connectUnix(path), {
      ...THREE_ROUNDS,
      journal,
      timeoutMs: TIMEOUT_MS,
    });
    const { devices } = await receiving;
    await using _ = devices;
    await assertMoved(device, devices[0]!, [here]);
  } finally {
    await expectExit(0, ["umount", huge]);
    writeFileSync("/proc/sys/vm/nr_hugepages", "0");
  }
}

/** What is wrong with a driver, and what its migration shows. */
interface Mutant {
  readonly bug: "log-loses-pages" | "dma-in-stop-copy";
  readonly type: DeviceType;
  readonly what: string;
  /** Faults without which it may not show. */
  readonly fault?: string;
  /** The tracker, if it is not the best there is. */
  readonly tracker?: "device" | "auto";
  lacks?(): string | null;
  /** Whether the bug can make a page differ, by its IOVA. */
  differs?(iova: bigint): boolean;
}

/** A driver whose bug makes the memory differ: the other side says so, and the source runs on. */
async function foundOut(
  folder: string,
  [from, to]: readonly [GuestDevice, GuestDevice],
  { bug, fault, tracker = "auto", differs = () => true }: Mutant,
): Promise<void> {
  from.set({ bug, ...(fault !== undefined && { fault }) });
  const path = join(folder, "socket");
  const journal = join(folder, "journal");
  using listener = await UnixListener.listen(path);
  await using source = await openDevices([from.uuid], { maps: MAPS, tracker });
  const [device] = source as unknown as [Device];
  await startEngine(from, device, MAPS[0]);
  const [ours, theirs] = await Promise.allSettled([
    migrate(source, await connectUnix(path), { ...THREE_ROUNDS, journal }),
    listener.next().then((connection) =>
      receive(connection, (memory) => openDevices([to.uuid], { maps: memory[0] }), { journal })
    ),
  ]);
  assert.ok(ours.status === "rejected", "the migration has found nothing");
  assert.ok(ours.reason instanceof TransferError, ours.reason);
  assert.equal(ours.reason.code, "peer-refused");
  const named = /Memory differs from the source's in (\d+) pages: ([0-9a-fx, ]+)/
    .exec(ours.reason.message);
  assert.ok(named, ours.reason.message);
  const pages = named[2]!.split(", ").filter((page) => page !== "").map(BigInt);
  assert.ok(pages.length > 0 && pages.every(differs), named[0]);
  assert.ok(theirs.status === "rejected" && theirs.reason instanceof TransferError);
  assert.equal(theirs.reason.code, "memory-differs");
  assert.equal((await device.state()).state, "running");
  await engineWrites(device, MAPS[0]);
}

/** Checkpoints of one device, of which the last is restored into the other. */
async function restores(folder: string, from: GuestDevice, to: GuestDevice): Promise<void> {
  const at = join(folder, "chain");
  await using source = await openDevices([from.uuid], { maps: MAPS, tracker: "auto" });
  const [device] = source as unknown as [Device];
  for (let page = 0n; page < 64n; page += 3n) {
    await device.writeMemory(MIB + page * 4096n, new Uint8Array(4096).fill(Number(page) + 1));
  }
  // Nothing but the device writes from here on: only its tracker shows what it wrote.
  await using chain = new CheckpointChain(source, at, { ownerWrites: "none" });
  const kinds: string[] = [];
  for (let turn = 0; turn < 3; turn++) {
    const { kind, bytes, stopSeconds } = await chain.take();
    kinds.push(kind);
    if (kind === "increment") assert.ok(bytes.memory >= 4096, `${bytes.memory}`);
    assert.ok(stopSeconds > 0);
    assert.equal((await device.state()).state, "running");
    writeFileSync(from.dmaFile, `write 0x${(0x140000 + turn * 0x2000).toString(16)} 1`);
    writeFileSync(from.dmaFile, `write 0x${((1n << 32n) + 0x3000n).toString(16)} 2`);
  }
  await chain.take();
  assert.deepEqual(kinds, ["full", "increment", "increment"]);
  const verified = await verifyChain(at);
  assert.equal(verified.files.length, 4);
  await using devices = await openDevices([to.uuid], { maps: verified.memory[0]!.ranges });
  await restoreChain(devices, verified);
  const [there] = devices as unknown as [Device];
  assert.equal((await there.state()).state, "running");
  for (const { iova, size } of MAPS) {
    const [here, other] = [
      await device.readMemory(iova, Number(size)),
      await there.readMemory(iova, Number(size)),
    ];
    assert.equal(Buffer.compare(here, other), 0, `memory at 0x${iova.toString(16)}`);
  }
  assert.deepEqual(await dataOf(there), await dataOf(device));
}

const TYPES: readonly DeviceType[] = ["trapped", "v2-p2p", "v2-full"];

const STEPS = [
  ["a device that writes to memory moves to another, and both agree", moves],
  ["checkpoints of a device that writes to memory are restored into another", restores],
] as const;

/** What is shown of one device, whatever the others are like. */
const ONCE = [
  ["v2-p2p", "a program has a device that it owns moved, with its last write", movesOfOwner],
  ["v2-p2p", "a device moves whose memory is a file of huge pages", movesHugePages],
] as const;

const MUTANTS: readonly Mutant[] = [
  {
    bug: "log-loses-pages",
    type: "v2-p2p",
    what: "a log that loses pages",
    tracker: "device",
    lacks: () =>
      kernelHas()["log REPORT"] === "yes"
        ? null
        : "this kernel's VFIO has no reports of a device's log",
    // The driver loses every eighth.
    differs: (iova) => iova / PAGE % 8n === 7n,
  },
  ...(["trapped", "v2-p2p"] as const).map((type): Mutant => ({
    bug: "dma-in-stop-copy",
    type,
    what: "a device that writes after its stop",
    // It takes time to read its data, in which it writes to what was sent.
    fault: "block:30",
  })),
];

/** Migrations and checkpoints of each protocol, by what tracks there: type1, or the device's log. */
export const cases: readonly Case[] = [
  ...TYPES.flatMap((type) =>
    STEPS.map(([what, work]) => ({
      name: `live: ${type}: ${what}`,
      lacks: () => type.startsWith("v2") ? lacks(type) : null,
      run: (folder: string) =>
        withPair(type, { size: 1 << 20, chunk: 64 << 10 }, (from, to) => work(folder, from, to)),
    }))
  ),
  ...ONCE.map(([type, what, work]): Case => ({
    name: `live: ${type}: ${what}`,
    lacks: () => type.startsWith("v2") ? lacks(type) : null,
    run: (folder) =>
      withPair(type, { size: 1 << 20, chunk: 64 << 10 }, (from, to) => work(folder, from, to)),
  })),
  ...MUTANTS.map((mutant): Case => ({
    name: `live: ${mutant.type}: ${mutant.what} is found out by comparing memory`,
    lacks: () => lacks(mutant.type) ?? mutant.lacks?.() ?? null,
    run: (folder) =>
      withPair(
        mutant.type,
        { size: 1 << 20, chunk: 64 << 10 },
        (from, to) => foundOut(folder, [from, to], mutant),
      ),
  })),
];
