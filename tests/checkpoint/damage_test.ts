import assert from "node:assert/strict";
import { it } from "node:test";
import fc from "fast-check";
import {
  encodeSample,
  precopyPart,
  samples,
  stopPart,
} from "../../fixtures/checkpoints/samples.ts";
import { FORMAT_VERSION, MAGIC } from "../../src/checkpoint/frames/constants.ts";
import { type Bytes, bytesOf, fault, read, readInPlace, split, whole } from "./_tools.ts";

const SAMPLES = Object.entries(samples());
const [[, SAMPLE]] = SAMPLES as [[string, Bytes]];
/** What a good checkpoint of the same shape, but of other content, has. */
const OTHER = encodeSample([...stopPart(), ...stopPart()]);

const GOOD = new Map(SAMPLES.map(([, sample]) => [sample, whole(read(sample).transactions)]));

/** Reads damaged bytes, in pieces too: refused, with nothing but good transactions before that. */
function refuse(bytes: Bytes, original: Bytes): string {
  const good = GOOD.get(original)!;
  const ways = [
    read(bytes),
    read(bytes, [7]),
    read(bytes, [1]),
    readInPlace(bytes, Infinity),
    readInPlace(bytes, 3),
  ];
  const codes = ways.map(({ error, transactions }) => {
    assert.notEqual(error, null);
    assert.ok(error!.offset >= 0 && error!.offset <= bytes.length, `offset ${error!.offset}`);
    const got = whole(transactions);
    assert.deepEqual(got, good.slice(0, got.length));
    return error!.code;
  });
  assert.equal(new Set(codes).size, 1, `the pieces do not matter: ${codes}`);
  assert.equal(fault(bytes, { discard: true }), codes[0]);
  return codes[0]!;
}

for (const [name, sample] of SAMPLES) {
  it(`${name} cut at any byte is refused`, () => {
    assert.equal(refuse(sample.slice(0, 0), sample), "empty");
    for (let length = 1; length < sample.length; length++) {
      assert.equal(refuse(sample.slice(0, length), sample), "truncated", `cut at ${length}`);
    }
  });

  it(`${name} with any one bit flipped is refused`, () => {
    for (let bit = 0; bit < sample.length * 8; bit++) {
      const damaged = sample.slice();
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      const expected = bit < 8 * MAGIC.length ? "not-a-checkpoint" : "crc";
      assert.equal(refuse(damaged, sample), expected, `bit ${bit}`);
    }
  });
}

it("a frame that is missing is found at the next one", () => {
  const parts = split(SAMPLE);
  for (let index = 1; index < parts.length - 1; index++) {
    const damaged = bytesOf(...parts.toSpliced(index, 1));
    assert.equal(refuse(damaged, SAMPLE), "order", `frame ${index - 1}`);
  }
  assert.equal(refuse(bytesOf(...parts.slice(0, -1)), SAMPLE), "truncated");
  assert.equal(refuse(bytesOf(...parts.slice(1)), SAMPLE), "not-a-checkpoint");
});

it("a frame that is repeated is found", () => {
  const parts = split(SAMPLE);
  for (let index = 1; index < parts.length; index++) {
    const damaged = bytesOf(...parts.toSpliced(index, 0, parts[index]!));
    const expected = index === parts.length - 1 ? "trailing" : "order";
    assert.equal(refuse(damaged, SAMPLE), expected, `frame ${index - 1}`);
  }
});

it("frames that have changed places are found", () => {
  const parts = split(SAMPLE);
  for (let a = 1; a < parts.length; a++) {
    for (let b = a + 1; b < parts.length; b++) {
      const damaged = bytesOf(...parts.with(a, parts[b]!).with(b, parts[a]!));
      assert.equal(refuse(damaged, SAMPLE), "order", `frames ${a - 1} and ${b - 1}`);
    }
  }
});

it("a frame of another checkpoint does not pass for one of this, though its number fits", () => {
  const [ours, theirs] = [split(SAMPLE), split(OTHER)];
  assert.equal(ours.length, theirs.length - 1);
  // Frame 0 is the same in both. A frame in whose place another one stands is
  // told by the chain of the one after it, at the latest.
  for (let index = 2; index < ours.length - 1; index++) {
    assert.equal(
      fault(bytesOf(...ours.with(index, theirs[index]!))),
      "order",
      `frame ${index - 1}`,
    );
  }
  assert.equal(fault(bytesOf(...ours.slice(0, 3), ...theirs.slice(3))), "order");
});

it("anything after the trailer is found", () => {
  assert.equal(refuse(bytesOf(SAMPLE, 1), SAMPLE), "trailing");
  assert.equal(refuse(bytesOf(SAMPLE, SAMPLE), SAMPLE), "trailing");
  assert.equal(refuse(bytesOf(SAMPLE, "\n"), SAMPLE), "trailing");
});

it("what is no checkpoint is refused at once", () => {
  for (const text of ["x", "no checkpoint", '{"json": "as other tools write it"}', "\x89VFK\n\n"]) {
    assert.equal(refuse(bytesOf(text), SAMPLE), "not-a-checkpoint", text);
  }
  assert.equal(refuse(bytesOf(1_000_000), SAMPLE), "not-a-checkpoint");
});

it("a transfer as text is distinguished from a checkpoint", () => {
  const unix = bytesOf(SAMPLE.filter((byte, index) => !(byte === 13 && SAMPLE[index + 1] === 10)));
  assert.equal(refuse(unix, SAMPLE), "not-a-checkpoint");
  assert.equal(refuse(SAMPLE.map((byte) => byte & 0x7f), SAMPLE), "not-a-checkpoint");
});

it("a newer version is named as such", async () => {
  const { crc32 } = await import("node:zlib");
  const newer = SAMPLE.slice();
  const view = new DataView(newer.buffer);
  view.setUint16(8, FORMAT_VERSION + 1, true);
  view.setUint32(12, crc32(newer.subarray(0, 12)), true);
  assert.equal(refuse(newer, SAMPLE), "version");
  assert.match(read(newer).error!.message, /it is of version 2, and version 1 is what can be read/);
  view.setUint16(8, FORMAT_VERSION, true);
  view.setUint16(10, 0x8000, true);
  view.setUint32(12, crc32(newer.subarray(0, 12)), true);
  assert.match(read(newer).error!.message, /it is of version 1 with flags 0x8000/);
});

it("no damage of any kind passes, or crashes the reader", () => {
  const part = fc.nat(split(SAMPLE).length - 1);
  const damages: fc.Arbitrary<(bytes: Bytes) => Bytes> = fc.oneof(
    fc.nat(SAMPLE.length - 1).map((at) => (bytes: Bytes) => bytes.slice(0, at % bytes.length)),
    fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })).map(([at, mask]) => (bytes: Bytes) => {
      const damaged = bytes.slice();
      damaged[at % bytes.length]! ^= mask;
      return damaged;
    }),
    fc.tuple(fc.nat(), fc.nat(40), fc.uint8Array({ maxLength: 40 })).map(
      ([at, remove, insert]) => (bytes: Bytes) => {
        const from = at % bytes.length;
        return bytesOf(bytes.slice(0, from), insert, bytes.slice(from + remove));
      },
    ),
    fc.tuple(part, part).map(([a, b]) => () => {
      const parts = split(SAMPLE);
      return bytesOf(...parts.with(a, parts[b]!).with(b, parts[a]!));
    }),
    fc.tuple(part, part).map(([from, to]) => () => {
      const parts = split(SAMPLE);
      return bytesOf(...parts.toSpliced(to, 0, parts[from]!));
    }),
  );
  fc.assert(
    fc.property(
      fc.array(damages, { minLength: 1, maxLength: 3 }),
      fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 5 }),
      (list, pieces) => {
        const damaged = list.reduce(
          (bytes, damage) => bytes.length === 0 ? bytes : damage(bytes),
          SAMPLE,
        );
        const { error, transactions } = read(damaged, pieces);
        if (Buffer.from(damaged).equals(SAMPLE)) return assert.equal(error, null);
        assert.notEqual(error, null);
        const good = whole([...precopyPart(), ...stopPart()]);
        const got = whole(transactions);
        assert.deepEqual(got, good.slice(0, got.length));
      },
    ),
    { numRuns: 2000 },
  );
});

it("bytes at random are refused", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 500 }), (noise) => {
    assert.notEqual(fault(noise), null);
    // Behind a good preamble, too.
    assert.notEqual(fault(bytesOf(SAMPLE.slice(0, 16), noise)), null);
  }));
});
