/** All of migration by our own client (`vfio-user:PATH`) on devices that our own server serves. */

import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import {
  createCheckpointFile,
  type Device,
  openCheckpointFile,
  openDevice,
  precopy,
  restore,
  resume,
  save,
  stopAndCopy,
} from "../../mod.ts";
import { Server } from "../../src/server/mod.ts";

const SIZE = "size=1MiB";

let folder = "";

/** Calls `use` with a served device, opened by its socket. */
async function served(
  spec: string,
  use: (device: Device) => Promise<void>,
): Promise<void> {
  const socket = path.join(folder, `${fs.readdirSync(folder).length}.sock`);
  await using _server = await Server.listen(spec, socket);
  await using device = await openDevice(`vfio-user:${socket}`);
  await use(device);
}

/** The CRC-32 of the device's whole state, which region 0 shows. */
async function checksum(device: Device): Promise<number[]> {
  return [...await device.readRegion(0, 24, 4)];
}

describe("a served device, by our own client", () => {
  beforeEach(() => {
    folder = fs.mkdtempSync("/tmp/vfiokit-served-");
  });
  afterEach(() => fs.rmSync(folder, { recursive: true }));

  for (
    const name of [
      ...["trapped", "mapped", "partitioned", "ice", "nvidia-vgpu"],
      ...["mlx5", "virtio", "qat", "hisi", "pds", "mtty", "stop-copy-only"],
    ]
  ) {
    it(`is saved, and restored into another: ${name}`, async () => {
      const size = name === "ice" ? "size=64KiB" : SIZE;
      await served(`sim:${name}?${size}&seed=1`, async (from) => {
        await served(`sim:${name}?${size}&seed=2`, async (to) => {
          const file = path.join(folder, "a.vfk");
          {
            await using sink = await createCheckpointFile(file);
            const wanted = from.description.precopy ? {} : undefined;
            const report = await save(from, sink, { precopy: wanted, leave: "stop" });
            assert.equal(report.state, "stop");
          }
          assert.notDeepEqual(await checksum(to), await checksum(from));
          await using source = await openCheckpointFile(file);
          const report = await restore(to, source);
          assert.equal(report.state, "running");
          assert.deepEqual(await checksum(to), await checksum(from));
          const codes = report.devices[0]?.notes.map(({ code }) => code);
          assert.deepEqual(codes, name === "ice" ? ["quirk-stop-at-open"] : []);
        });
      });
    });
  }

  it("goes from phase to phase as streams", async () => {
    await served(`sim:mlx5?${SIZE}&rate=1MiB`, async (from) => {
      await served(`sim:mlx5?${SIZE}`, async (to) => {
        const sink = resume(to);
        await precopy(from, { maxRounds: 2 }).pipeTo(sink, { preventClose: true });
        await stopAndCopy(from).pipeTo(sink);
        assert.equal((await to.state()).state, "running");
        assert.deepEqual(await checksum(to), await checksum(from));
      });
    });
  });

  it("is brought back after a fault, with the errno of its driver", async () => {
    await served(`sim:mlx5?${SIZE}&fault=read:2:EIO`, async (device) => {
      await using sink = await createCheckpointFile(path.join(folder, "a.vfk"));
      await assert.rejects(save(device, sink), /EIO/);
      assert.equal((await device.state()).state, "running");
    });
    await served(`sim:mlx5?${SIZE}&fault=error-state:3`, async (device) => {
      await using sink = await createCheckpointFile(path.join(folder, "a.vfk"));
      await assert.rejects(save(device, sink), /EIO/);
      assert.equal((await device.state()).state, "running");
    });
  });

  it("logs its DMA into memory of the client's", async () => {
    const socket = path.join(folder, "a.sock");
    await using _server = await Server.listen(
      `sim:mlx5?${SIZE}&dma=sequential:1000000/s`,
      socket,
    );
    await using device = await openDevice(`vfio-user:${socket}`, {
      maps: [{ iova: 0x100000n, size: 0x10000n }],
      tracker: "device",
    });
    const dirty = device.dirty!;
    await dirty.start();
    // The device writes when it is called, for the time that has passed.
    let pages = 0;
    for (const until = Date.now() + 60_000; pages < 16 && Date.now() < until;) {
      await device.state();
      pages = (await dirty.read()).dirtyPages;
    }
    assert.equal(pages, 16);
    await dirty.stop();
  });
});
