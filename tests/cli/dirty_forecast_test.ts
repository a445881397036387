import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { describe, it } from "node:test";
import { type Sample, sampleFields } from "../../cli/dirty/samples.ts";
import { vfiokit } from "./_cli.ts";
import { Folder } from "./_folder.ts";
import { sampleRounds } from "./_sample_rounds.ts";

function lines(samples: readonly Sample[]): string {
  return samples.map((sample) => JSON.stringify(sampleFields(sample)) + "\n").join("");
}

const SAMPLES = lines(sampleRounds());

describe("`dirty forecast`", () => {
  it("says that pre-copy converges, in how many rounds, with what downtime", async () => {
    using folder = new Folder();
    const file = folder.file("s.jsonl");
    writeFileSync(file, SAMPLES);
    const { code, out, err } = await vfiokit(
      ["dirty", "forecast", file, "--bandwidth", "10Gbit", "--downtime", "50ms"],
      { permissions: ["--allow-read"] },
    );
    assert.equal(code, 0, err);
    assert.match(out, /^192\.0 MiB of memory at 1\.2 GiB\/s \(10 Gbit\/s\), with a downtime of up/);
    assert.match(out, /Pre-copy converges in 1 round, 161\.1 ms; the device then stands still for/);
    assert.match(out, /It converges from .*\/s on \(.* Gbit\/s\)\.$/m);
  });

  it("exits with 3 if it does not converge, and says which bandwidth would do", async () => {
    const run = async (bandwidth: string): Promise<[number | null, number]> => {
      const words = ["dirty", "forecast", "-", "--bandwidth", bandwidth, "--downtime", "10ms"];
      const { code, out } = await vfiokit([...words, "--json"], { stdin: SAMPLES });
      const { schema, converges, requiredBandwidth, rounds, notes } = JSON.parse(out);
      assert.equal(schema, "vfiokit/dirty-forecast/1");
      assert.equal(converges, code === 0);
      assert.ok(rounds.length > 0);
      assert.deepEqual(notes, []);
      return [code, requiredBandwidth];
    };
    const [code, required] = await run("200Mbit");
    assert.equal(code, 3);
    assert.deepEqual(await run(`${required}B`), [0, required]);
    assert.equal((await run(`${Math.floor(required * 0.98)}B`))[0], 3);
  });

  it("takes 10G for 10 GiB a second, as sizes are taken elsewhere", async () => {
    const words = ["dirty", "forecast", "-", "--bandwidth", "10G"];
    const { code, out, err } = await vfiokit(words, { stdin: SAMPLES });
    assert.equal(code, 0, err);
    assert.match(out, /^192\.0 MiB of memory at 10\.0 GiB\/s \(85\.9 Gbit\/s\), /);
  });

  it("needs no pre-copy if all of the memory fits into the downtime", async () => {
    const { code, out } = await vfiokit(
      ["dirty", "forecast", "-", "--bandwidth", "100Gbit", "--downtime", "1s"],
      { stdin: SAMPLES },
    );
    assert.equal(code, 0);
    assert.match(out, /Pre-copy is not needed: all of it takes 16\.1 ms/);
  });

  it("passes on what the samples note, and says if they do not have all runs", async () => {
    const samples = sampleRounds({ rounds: 4, notes: ["This IOMMU does not track"] })
      .map((sample) => ({ ...sample, runs: sample.runs.slice(0, 3), omittedRuns: 9 }));
    const { err } = await vfiokit(["dirty", "forecast", "-", "--bandwidth", "1Gbit"], {
      stdin: lines(samples),
    });
    assert.match(err, /^This IOMMU does not track$/m);
    assert.match(err, /^4 rounds had more runs than a sample lists/m);
  });

  const wrong: readonly (readonly [string, readonly string[], number, string])[] = [
    ["a file that is not there", ["/nonexistent", "--bandwidth", "1Gbit"], 1, "system-call"],
    ["lines that are no samples", ["-", "--bandwidth", "1Gbit"], 1, "bad-samples"],
    ["a bandwidth of 0", ["-", "--bandwidth", "0Gbit"], 2, "usage"],
    ["a downtime of 0", ["-", "--bandwidth", "1Gbit", "--downtime", "0s"], 2, "usage"],
  ];
  for (const [what, words, exitCode, word] of wrong) {
    it(`exits with ${exitCode} on ${what}`, async () => {
      const { code, out } = await vfiokit(["dirty", "forecast", ...words, "--json"], {
        stdin: "{}\n",
      });
      assert.equal(code, exitCode);
      assert.equal(JSON.parse(out).error.code, word);
    });
  }
});
