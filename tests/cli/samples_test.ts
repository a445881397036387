import fc from "fast-check";
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseSamples, type Sample, sampleFields, SamplesError } from "../../cli/dirty/samples.ts";
import { sampleRounds } from "./_sample_rounds.ts";

function lines(samples: readonly Sample[]): string {
  return samples.map((sample) => JSON.stringify(sampleFields(sample)) + "\n").join("");
}

/** A good line with some of its fields changed. */
function changed(fields: Record<string, unknown>): string {
  return JSON.stringify({ ...sampleFields(sampleRounds({ rounds: 1 })[0]!), ...fields });
}

describe("samples", () => {
  it("are read as they were written", () => {
    const samples = sampleRounds({ rounds: 5, notes: ["a note"] });
    assert.deepEqual(parseSamples(lines(samples)), samples);
  });

  it("may be cut from a longer file, and have empty lines between them", () => {
    const samples = sampleRounds({ rounds: 5 }).slice(2);
    assert.deepEqual(parseSamples(lines(samples).replaceAll("\n", "\n\n")), samples);
  });

  it("have bytes and rate, and addresses as hex strings", () => {
    const [first] = sampleRounds({ rounds: 1 });
    const fields = sampleFields(first!);
    assert.equal(fields["schema"], "vfiokit/dirty-sample/1");
    assert.equal(fields["bytes"], first!.pages * 4096);
    assert.equal(fields["bytesPerSecond"], first!.pages * 40960);
    assert.deepEqual(fields["mappings"], [["0x100000", 67108864], ["0x100000000", 134217728]]);
  });

  it("may leave runs out, and say how many", () => {
    const [sample] = sampleRounds({ rounds: 1 });
    const runs = sample!.runs.slice(0, 2);
    const [read] = parseSamples(lines([{ ...sample!, runs, omittedRuns: 7 }]));
    assert.deepEqual([read!.runs.length, read!.omittedRuns], [2, 7]);
  });

  const wrong: readonly (readonly [what: string, line: string, says: RegExp])[] = [
    ["no JSON", "{", /not the output of dirty watch --json/],
    ["no object", "7", /it is no object/],
    ["another schema", changed({ schema: "vfiokit/save/1" }), /its schema is "vfiokit\/save\/1"/],
    ["a page size that is no power of two", changed({ pgsize: 3 }), /"pgsize" is 3/],
    ["a page size of 0", changed({ pgsize: 0 }), /"pgsize" is 0/],
    ["a negative time", changed({ time: -1 }), /"time" is -1/],
    ["a time that is no number", changed({ time: "soon" }), /"time" is "soon"/],
    ["a round of no time", changed({ seconds: 0 }), /"seconds" is 0/],
    ["half a page", changed({ pages: 1.5 }), /"pages" is 1.5/],
    ["runs that are no list", changed({ runs: 1 }), /"runs" is no list/],
    ["a run without a length", changed({ runs: [["0x100000"]] }), /no \[iova, bytes\]/],
    ["a run of no bytes", changed({ runs: [["0x100000", 0]] }), /no \[iova, bytes\]/],
    ["a run that is not aligned", changed({ runs: [["0x100001", 4096]] }), /no \[iova, bytes\]/],
    ["an IOVA as a number", changed({ runs: [[0x100000, 4096]] }), /no \[iova, bytes\]/],
    [
      "an IOVA beyond 2^64",
      changed({ mappings: [["0xfffffffffffff000", 8192]] }),
      /no \[iova, bytes\]/,
    ],
    [
      "runs that do not ascend",
      changed({ runs: [["0x101000", 4096], ["0x100000", 4096]] }),
      /not in ascending order/,
    ],
    ["a run where nothing is mapped", changed({ runs: [["0x0", 4096]] }), /0x0, which is in none/],
    ["more runs than pages", changed({ pages: 1 }), /"pages" is 1, yet "runs" has/],
    ["notes that are no strings", changed({ notes: [1] }), /"notes" is no list of strings/],
    ["nothing", "\n\n", /there is no line/],
  ];
  for (const [what, line, says] of wrong) {
    it(`are refused with ${what}`, () => {
      assert.throws(() => parseSamples(line), (error: Error) => {
        assert.ok(error instanceof SamplesError);
        assert.match(error.message, says);
        return true;
      });
    });
  }

  it("must follow each other, and be of the same memory", () => {
    const [first, second] = sampleRounds({ rounds: 2 }) as [Sample, Sample];
    assert.throws(
      () => parseSamples(lines([second, first])),
      /line 2: round 1 does not follow round 2/,
    );
    const other = { ...second, mappings: [...second.mappings, { iova: 1n << 40n, size: 4096n }] };
    assert.throws(() => parseSamples(lines([first, other])), /line 2: it is of other memory/);
  });

  it("are refused by a SamplesError, whatever a line holds", () => {
    const names = Object.keys(sampleFields(sampleRounds({ rounds: 1 })[0]!));
    fc.assert(fc.property(fc.constantFrom(...names), fc.jsonValue(), (name, value) => {
      try {
        parseSamples(changed({ [name]: value }));
      } catch (error) {
        assert.ok(error instanceof SamplesError, String(error));
      }
    }));
  });
});
