// The fuzzer itself: that a seed gives the same everywhere, that what is broken is found, and a few
// tries of each kind.

import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { describe, it } from "node:test";
import { O_RDWR } from "../../src/kernel/kernel.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { Bench, checkClosed, checkFolder } from "./_bench.ts";
import { checkRestores, savedFrom } from "./_checkpoints.ts";
import { checkError } from "./_errors.ts";
import { Find, type Kind, without } from "./_kind.ts";
import { KINDS } from "./_kinds.ts";
import type { FaultsPlan } from "./_plan.ts";
import { Random } from "./_random.ts";
import { shrink } from "./_shrink.ts";
import { attempt } from "./_try.ts";

/** The promise that a find is about. */
function finds(promise: string): (error: unknown) => boolean {
  return (error) => error instanceof Find && error.promise === promise;
}

describe("a seed", () => {
  it("gives the same numbers in every runtime", () => {
    const random = new Random(1);
    assert.deepEqual([random.u32(), random.u32(), random.below(100), random.few(1, 100)], NUMBERS);
  });

  it("gives the same plan again, which is plain data", () => {
    for (const kind of KINDS) {
      for (let seed = 0; seed < 50; seed++) {
        const plan = kind.make(new Random(seed));
        assert.deepEqual(kind.make(new Random(seed)), plan);
        assert.deepEqual(JSON.parse(JSON.stringify(plan)), plan);
      }
    }
  });
});

const NUMBERS = [1857996408, 3863704218, 96, 32];

const SPEC = { personality: "trapped", options: ["size=16KiB"], faults: [] } as const;

/** A device with which nothing is done. */
const IDLE: FaultsPlan = {
  specs: [SPEC],
  host: "inline",
  onError: "reset",
  operation: { do: "states", steps: [] },
  interruption: null,
};

describe("what is broken is found:", () => {
  it("a checkpoint that makes a device another one", async () => {
    const { bytes, crc32 } = await savedFrom([SPEC], {});
    await checkRestores(bytes, [SPEC], crc32);
    await assert.rejects(checkRestores(bytes, [SPEC], [crc32[0]! ^ 1]), finds("restorable"));
    await assert.rejects(
      checkRestores(bytes.subarray(0, -1), [SPEC], crc32),
      finds("restorable"),
    );
  });

  it("a state that is not the one the device is in", async () => {
    await using bench = (await Bench.open(IDLE))!;
    await bench.checkState(0, "running", "a test");
    await bench.checkState(0, null, "a test");
    await assert.rejects(bench.checkState(0, "stop", "a test"), finds("told state"));
    await assert.rejects(bench.checkState(0, "unknown", "a test"), finds("told state"));
    await bench.devices[0]!.setState("stop");
    await assert.rejects(bench.checkState(0, null, "a test"), finds("told state"));
  });

  it("a protocol that was broken", async () => {
    const bench = (await Bench.open(IDLE))!;
    // Behind the library's back: no register of the migration region has three bytes.
    const kernel = bench.kernel!;
    const { device } = bench.devices[0]!.description.fds;
    assert.throws(() => kernel.pread(device, new Uint8Array(3), 9n << 40n));
    await assert.rejects(bench[Symbol.asyncDispose](), finds("violation"));
  });

  it("what is left open", () => {
    const kernel = new SimKernel("sim:trapped");
    const fd = kernel.open("/dev/vfio/vfio", O_RDWR);
    assert.throws(() => checkClosed(kernel), finds("leak"));
    kernel.close(fd);
    checkClosed(kernel);
  });

  it("a file that is left, or left open", async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "vfiokit-fuzz-"));
    const file = path.join(folder, "a");
    const fd = fs.openSync(file, "w");
    await assert.rejects(checkFolder(folder, []), finds("leak"));
    await assert.rejects(checkFolder(folder, ["a"]), finds("leak"));
    fs.closeSync(fd);
    await checkFolder(folder, ["a"]);
    fs.rmSync(folder, { recursive: true });
  });

  it("an error that no documentation names, or that nobody can understand", () => {
    assert.throws(
      () => checkError(new RangeError("Invalid typed array length")),
      finds("undocumented error"),
    );
    assert.throws(() => checkError("a text"), finds("undocumented error"));
    assert.throws(() => checkError(new RangeError("of undefined"), [RangeError]), finds("message"));
  });

  it("what never ends, and what is unexpected", async () => {
    const kind = { name: "planted", make: () => null, *smaller(): Generator<never> {} };
    const hang = { ...kind, run: () => new Promise<void>(() => {}) };
    assert.equal((await attempt(hang, null, 50))?.promise, "hang");
    const broken = { ...kind, run: () => Promise.reject(new TypeError("x is not a function")) };
    assert.equal((await attempt(broken, null))?.promise, "unexpected");
  });

  it("and made small", async () => {
    const planted: Kind<readonly number[]> = {
      name: "planted",
      make: (random) => Array.from({ length: 40 }, () => random.below(50)),
      run(plan): Promise<void> {
        if (!plan.includes(7)) return Promise.resolve();
        return Promise.reject(new Find("no seven", `there is a 7 in ${plan.length}`));
      },
      smaller: without,
    };
    let found = 0;
    for (let seed = 0; seed < 20; seed++) {
      const plan = planted.make(new Random(seed));
      const find = await attempt(planted, plan);
      if (find === null) continue;
      found += 1;
      assert.deepEqual((await shrink(planted, plan, find)).plan, [7]);
    }
    assert.ok(found > 0);
  });
});

describe("a few tries", () => {
  for (const kind of KINDS) {
    it(`of the kind ${kind.name} find nothing`, async () => {
      try {
        for (let seed = 400; seed < 406; seed++) {
          const plan = kind.make(new Random(seed));
          const find = await attempt(kind, plan);
          assert.equal(find, null, `seed ${seed}: ${find?.message} ${JSON.stringify(plan)}`);
        }
      } finally {
        await kind.end?.();
      }
    });
  }
});
