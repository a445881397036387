import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { vfiokit } from "./_cli.ts";

/** It writes to each of 256 pages in turn, in half a second. */
const LOGS = "sim:mlx5?dma=sequential:500/s";
const MIB = ["--map", "0x100000:1MiB"];
/** The kernel cannot report the log of this one. */
const MUTE = "sim:mlx5?fault=no-log-report";

describe("`--tracker`", () => {
  it("auto takes the device's own log if it can be read, and says so", async () => {
    const words = ["dirty", "get", LOGS, ...MIB, "--after", "10ms"];
    const [text, json] = await Promise.all([vfiokit(words), vfiokit([...words, "--json"])]);
    const reason = "The device has a log of its own DMA, and the kernel reports it";
    assert.equal(text.code, 0, text.err);
    assert.match(text.err, new RegExp(`^${reason}: dirty pages are tracked by that log$`, "m"));
    assert.doesNotMatch(text.err, /does not track|pinned/);
    const document = JSON.parse(json.out);
    assert.deepEqual([document.tracker, document.trackerReason], ["device", reason]);
    assert.ok(document.pages > 0 && document.pages < 256, `${document.pages} pages`);
    assert.deepEqual([document.pinnedPages, document.verdict], [null, "tracks"]);
  });

  it("auto falls back to type1 if the kernel cannot report the log, and says so", async () => {
    const { code, out, err } = await vfiokit(["dirty", "get", MUTE, ...MIB, "--after", "1ms"]);
    assert.equal(code, 0, err);
    assert.equal(out, "0x100000:0x100000\n");
    assert.match(err, /EOPNOTSUPP\): dirty pages are tracked by the type1 IOMMU$/m);
    assert.match(err, /^This IOMMU does not track/m);
  });

  it("device is refused if there is no log that could be read, with exit code 3", async () => {
    const get = (device: string) =>
      vfiokit(["dirty", "get", device, ...MIB, "--tracker", "device", "--json"]);
    const [mute, none] = await Promise.all([get(MUTE), get("sim:mapped")]);
    for (const { code, err } of [mute, none]) assert.equal(code, 3, err);
    assert.match(mute.err, /cannot report \(DMA_LOGGING_REPORT: EOPNOTSUPP\)[^]*--tracker type1/);
    assert.match(none.err, /no log of its own DMA \(DMA_LOGGING_START: ENOTTY\)/);
  });

  it("is not called type1 if that is what has failed", async () => {
    const get = (device: string, ...more: readonly string[]) =>
      vfiokit(["dirty", "get", device, ...MIB, ...more]);
    const refused = await Promise.all([
      get("sim:mapped?fault=no-dirty-capability"),
      get(`${MUTE}&fault=no-dirty-capability`),
      get("sim:trapped?cdev=1&fault=no-dirty-capability"),
      get("sim:trapped?cdev=1", "--via", "cdev"),
    ]);
    for (const { code, err } of refused) {
      assert.equal(code, 3, err);
      assert.match(err, /hint: /);
      assert.doesNotMatch(err, /--tracker type1/);
    }
    const asked = await get("sim:mapped?fault=no-dirty-capability", "--tracker", "device");
    assert.match(asked.err, /hint: .*--tracker type1/);
  });

  it("device knows no pinned pages, in dirty get and in dirty watch", async () => {
    const [get, watch] = await Promise.all([
      vfiokit(["dirty", "get", LOGS, ...MIB, "--after", "1ms", "--json"]),
      vfiokit(["dirty", "watch", LOGS, ...MIB, "--every", "5ms", "--rounds", "4", "--json"]),
    ]);
    const { pinnedPages, pinnedRuns } = JSON.parse(get.out);
    assert.deepEqual([pinnedPages, pinnedRuns], [null, null]);
    for (const round of watch.out.trim().split("\n")) {
      assert.equal(JSON.parse(round).pinnedPages, null);
    }
  });

  it("type1 leaves the device's log alone, and gives no reason", async () => {
    const { out, err } = await vfiokit(
      ["dirty", "get", LOGS, ...MIB, "--after", "1ms", "--tracker", "type1", "--json"],
    );
    const { tracker, trackerReason, verdict } = JSON.parse(out);
    assert.deepEqual([tracker, trackerReason, verdict], ["type1", null, "does-not-track"]);
    assert.doesNotMatch(err, /tracked by/);
  });

  it("counts rounds by the log, and says in each that it broke", async () => {
    const { code, out, err } = await vfiokit(
      [
        ...["dirty", "watch", `${LOGS}&fault=log-error:3`, ...MIB],
        ...["--every", "10ms", "--rounds", "4", "--json"],
      ],
    );
    assert.equal(code, 0, err);
    const rounds = out.trim().split("\n").map((line) => JSON.parse(line));
    assert.deepEqual(rounds.map(({ notes }) => notes.length), [0, 1, 1, 1]);
    assert.ok(rounds[0].pages < 256);
    assert.deepEqual(rounds.slice(1).map(({ pages }) => pages), [256, 256, 256]);
    assert.match(rounds[1].notes[0], /lost its log, .* \(EIO\); all of its pages count as dirty$/);
    assert.equal(err.match(/\(EIO\)/g)!.length, 1);
  });

  it("reads the last dirty pages of what is unmapped, by the log", async () => {
    const { code, out } = await vfiokit(
      [
        ...["unmap", LOGS, ...MIB, "--iova", "0x100000", "--size", "1MiB"],
        ...["--with-dirty", "--after", "10ms", "--json"],
      ],
    );
    assert.equal(code, 0);
    const { tracker, unmapped, pages, mappingsLeft } = JSON.parse(out);
    assert.deepEqual([tracker, unmapped, mappingsLeft], ["device", 1 << 20, []]);
    assert.ok(pages > 0);
  });

  it("is one that the way allows by which the device is opened", async () => {
    const cdev = "sim:mlx5?cdev=1&dma=sequential:500/s";
    const mute = "sim:trapped?cdev=1&dma=sequential:500/s";
    const get = (device: string, ...more: readonly string[]) =>
      vfiokit(["dirty", "get", device, ...MIB, "--after", "10ms", "--json", ...more]);
    const [log, table, type1, both, half] = await Promise.all([
      get(cdev),
      get(`${mute}&iommu=dirty-tracking`, "--tracker", "iommufd"),
      get(mute),
      get(cdev, "--via", "cdev", "--tracker", "type1"),
      get("fd:3", "--iommufd-fd", "4"),
    ]);
    assert.equal(JSON.parse(log.out).tracker, "device");
    assert.equal(JSON.parse(table.out).tracker, "iommufd");
    assert.equal(JSON.parse(type1.out).tracker, "type1");
    assert.equal(both.code, 3);
    assert.match(both.err, /VFIO_IOMMU_DIRTY_PAGES: ENOTTY[^]*hint: .*--via group/);
    assert.equal(half.code, 2);
    assert.match(half.err, /--iommufd-fd without --ioas/);
  });
});
