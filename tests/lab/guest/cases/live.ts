/**
 * Live migration from one device of the guest to another over a Unix socket, and checkpoints of one
 * restored into another, while the device's driver writes to its memory: afterwards memory and
 * device data are equal.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Device, openDevices, stopAndCopy } from "../../../../mod.ts";
import {
  CheckpointChain,
  connectUnix,
  migrate,
  receive,
  restoreChain,
  UnixListener,
  verifyChain,
} from "../../../../src/live/mod.ts";
import { type DeviceType, type GuestDevice, lacks, withPair } from "../device.ts";
import type { Case } from "../harness.ts";

const MIB = 1n << 20n;
const MAPS = [{ iova: MIB, size: MIB / 2n }, { iova: 1n << 32n, size: MIB / 16n }];

/** All of a stopped or running device's data. */
async function dataOf(device: Device): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const { data } of stopAndCopy(device)) parts.push(data.slice());
  return new Uint8Array(await new Blob(parts as BlobPart[]).arrayBuffer());
}

async function moves(folder: string, from: GuestDevice, to: GuestDevice): Promise<void> {
  const path = join(folder, "socket");
  const journal = join(folder, "journal");
  using listener = await UnixListener.listen(path);
  await using source = await openDevices([from.uuid], { maps: MAPS, tracker: "auto" });
  const [device] = source as unknown as [Device];
  for (let page = 0n; page < 64n; page += 3n) {
    await device.writeMemory(MIB + page * 4096n, new Uint8Array(4096).fill(Number(page) + 1));
  }
  let rounds = 0;
  const receiving = listener.next().then((connection) =>
    receive(
      connection,
      (memory) => openDevices([to.uuid], { maps: memory[0] }),
      { journal },
    )
  );
  const report = await migrate(source, await connectUnix(path), {
    journal,
    downtimeMs: 60_000,
    verifyMemory: true,
    // Nothing but the device writes from here on: only its tracker shows what it wrote.
    ownerWrites: "none",
    onProgress: ({ phase }) => {
      if (phase !== "pre-copy") return;
      rounds += 1;
      writeFileSync(from.dmaFile, `write 0x${(0x140000 + rounds * 0x2000).toString(16)} 1`);
      writeFileSync(from.dmaFile, `write 0x${((1n << 32n) + 0x3000n).toString(16)} 2`);
    },
  });
  const { devices } = await receiving;
  await using _ = devices;
  const [there] = devices as unknown as [Device];
  assert.ok(rounds >= 2);
  assert.equal((await there.state()).state, "running");
  assert.equal((await device.state()).state, "stop");
  assert.ok(report.downtime.some(({ step }) => step === "verify"));
  for (const { iova, size } of MAPS) {
    const [here, other] = [
      await device.readMemory(iova, Number(size)),
      await there.readMemory(iova, Number(size)),
    ];
    assert.equal(Buffer.compare(here, other), 0, `memory at 0x${iova.toString(16)}`);
  }
  const stamp = await there.readMemory((1n << 32n) + 0x3000n, 8);
  assert.notDeepEqual([...stamp], [0, 0, 0, 0, 0, 0, 0, 0]);
  await device.setState("running");
  assert.deepEqual(await dataOf(there), await dataOf(device));
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

/** Migrations and checkpoints of each protocol, by what tracks there: type1, or the device's log. */
export const cases: readonly Case[] = TYPES.flatMap((type) =>
  STEPS.map(([what, work]) => ({
    name: `live: ${type}: ${what}`,
    lacks: () => type.startsWith("v2") ? lacks(type) : null,
    run: (folder: string) =>
      withPair(type, { size: 1 << 20, chunk: 64 << 10 }, (from, to) => work(folder, from, to)),
  }))
);
