/**
 * Devices that move from one guest to another, over a network and by TLS, while their driver's DMA
 * engine writes to memory: afterwards the checksums of memory and of the devices are equal.
 *
 * @module
 */

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type OpenDevices, openDevices } from "../../../../mod.ts";
import {
  connectTcp,
  migrate,
  readIdentity,
  receive,
  streamConnection,
  TcpListener,
  type TlsIdentity,
} from "../../../../src/live/mod.ts";
import { libcKernel } from "../../../../src/kernel/mod.ts";
import { type DeviceType, type GuestDevice, lacks, type Settings, withDevices } from "../device.ts";
import { startEngine } from "../engine.ts";
import type { Case } from "../harness.ts";
import { readWindow } from "../library.ts";
import { isFirstGuest, lacksOtherGuest, OtherGuest, SECOND_GUEST } from "../other_guest.ts";
import { deno, expectExit, vfiokit } from "../programs.ts";
import { type Asked, held, watched } from "../watched.ts";

const MIB = 1n << 20n;
const MAPS = [{ iova: MIB, size: MIB / 2n }, { iova: 1n << 32n, size: MIB / 16n }] as const;

/** Two emulated guests share the host's processors. */
const TIMEOUT_MS = 120_000;

/** What must be the same of a device in both guests. */
interface Sums {
  /** SHA-256 of each range of memory. */
  readonly memory: readonly string[];
  /** The driver's CRC-32 of the device's state. */
  readonly state: number;
}

async function sumsOf(devices: OpenDevices): Promise<Sums[]> {
  const sums: Sums[] = [];
  for (const device of devices) {
    const memory: string[] = [];
    for (const { iova, size } of MAPS) {
      const bytes = await device.readMemory(iova, Number(size));
      memory.push(createHash("sha256").update(bytes).digest("hex"));
    }
    sums.push({ memory, state: (await readWindow(device)).crc });
  }
  return sums;
}

/** This guest's keys by `keygen`, and the other guest's certificate. */
async function identity(folder: string, other: OtherGuest): Promise<TlsIdentity> {
  await expectExit(0, [...vfiokit(deno), "keygen", folder, "--quiet"]);
  const [key, certificate, peer] = ["key.pem", "certificate.pem", "peer.pem"]
    .map((name) => join(folder, name)) as [string, string, string];
  other.tell("certificate", readFileSync(certificate, "utf8"));
  writeFileSync(peer, await other.hear<string>("certificate"));
  return readIdentity({ key, certificate, peers: [peer] });
}

/** What both guests know of a case. */
interface Place {
  readonly folder: string;
  readonly port: number;
  readonly other: OtherGuest;
}

async function source(
  guests: readonly GuestDevice[],
  { folder, port, other }: Place,
): Promise<void> {
  const asked: Asked[] = [];
  await using devices = await watched(guests, asked, { maps: MAPS, tracker: "auto" });
  for (const [index, device] of devices.entries()) {
    await device.writeMemory(1n << 32n, randomBytes(Number(MIB / 32n)));
    await startEngine(guests[index]!, device, MAPS[0]);
  }
  const tls = await identity(folder, other);
  await other.hear("listening");
  const socket = await connectTcp({ host: SECOND_GUEST, port }, tls, { timeoutMs: TIMEOUT_MS });
  const report = await migrate(devices, streamConnection("the other guest", socket, socket), {
    journal: join(folder, "journal"),
    // Three rounds and the stop: the devices never write so little that all would be sent.
    downtimeMs: 0,
    maxRounds: 3,
    onNoConverge: "stop",
    ownerWrites: "none",
    verifyMemory: true,
    timeoutMs: TIMEOUT_MS,
  });
  assert.equal(report.rounds.length, 3);
  for (const device of devices) assert.equal((await device.state()).state, "stop");
  if (guests.length > 1) {
    const stop = asked.find(({ state }) => state === "STOP" || state === "STOP_COPY");
    assert.ok(stop?.now.every(held), JSON.stringify(stop));
  }
  const sums = await sumsOf(devices);
  other.tell("sums", sums);
  assert.deepEqual(await other.hear("sums"), sums);
}

async function destination(
  guests: readonly GuestDevice[],
  { folder, port, other }: Place,
): Promise<void> {
  const tls = await identity(folder, other);
  using listener = await TcpListener.listen({ host: SECOND_GUEST, port }, tls, {
    handshakeMs: TIMEOUT_MS,
  });
  other.tell("listening", true);
  const socket = await listener.accept(AbortSignal.timeout(2 * TIMEOUT_MS));
  const { devices } = await receive(
    streamConnection("the other guest", socket, socket),
    (memory) =>
      openDevices(guests.map(({ uuid }) => uuid), { maps: memory[0], kernel: libcKernel() }),
    { journal: join(folder, "journal"), timeoutMs: TIMEOUT_MS },
  );
  await using _ = devices;
  for (const device of devices) assert.equal((await device.state()).state, "running");
  const sums = await sumsOf(devices);
  other.tell("sums", sums);
  assert.deepEqual(await other.hear("sums"), sums);
}

function moves(types: readonly DeviceType[], index: number): Case {
  const what = types.length === 1 ? types[0]! : `${types.join(" and ")}, by P2P`;
  return {
    name: `guests: ${what}: moved to another guest by TLS, writing to memory all the while`,
    lacks: () => lacksOtherGuest() ?? types.map(lacks).find((why) => why !== null) ?? null,
    run: (folder) => {
      const place = { folder, port: 7000 + index, other: new OtherGuest(`${index}`) };
      // Those of the first guest change while they run; the others must stay as they came.
      const settings: Settings = {
        ...{ size: 1 << 20, chunk: 64 << 10 },
        rate: isFirstGuest() ? 256 << 10 : 0,
      };
      return place.other.part(() =>
        withDevices(types, settings, async (guests) => {
          // No two devices are alike before, in both guests.
          for (const [number, guest] of guests.entries()) {
            guest.set({ seed: number + (isFirstGuest() ? 1 : 101) });
          }
          await (isFirstGuest() ? source : destination)(guests, place);
        })
      );
    },
  };
}

const TYPES: readonly (readonly DeviceType[])[] = [
  ["trapped"],
  ["v2-p2p"],
  ["v2-full"],
  ["v2-p2p", "v2-p2p"],
  ["v2-full", "v2-full"],
];

/** The cases, which both guests run. */
export const cases: readonly Case[] = TYPES.map(moves);
