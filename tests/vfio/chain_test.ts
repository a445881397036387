import assert from "node:assert/strict";
import { it } from "node:test";
import fc from "fast-check";
import {
  type CapabilityDefect,
  CapabilityError,
  walkCapabilities,
} from "../../src/vfio/device/capability_chain.ts";
import { capability, join } from "./_fake_vfio.ts";

const FIXED = 24;

/** An info struct of 24 bytes with this behind it. */
function info(...parts: Uint8Array<ArrayBuffer>[]): Uint8Array<ArrayBuffer> {
  return join(new Uint8Array(new ArrayBuffer(FIXED)), ...parts);
}

function defectOf(bytes: Uint8Array<ArrayBuffer>, capOffset: number): CapabilityError {
  try {
    walkCapabilities(bytes, capOffset, "region 9", FIXED);
  } catch (error) {
    assert.ok(error instanceof CapabilityError);
    assert.match(error.message, /^Cannot use the capabilities of region 9: /);
    return error;
  }
  assert.fail("the chain was taken for a sound one");
}

it("the container's chain of Linux 6.1 is walked, one capability being off 8 bytes", () => {
  // MIGRATION at 24, DMA_AVAIL at 56, IOVA_RANGE at 68: as recorded.
  const bytes = info(
    capability(2, 56, [0, 0, 0x1000, 0, 0x1000_0000, 0]),
    capability(3, 68, [65535]),
    capability(1, 0, [2, 0, ...new Array(8).fill(0)]),
  );
  const capabilities = walkCapabilities(bytes, 24, "container", FIXED);
  assert.deepEqual(
    capabilities.map(({ id, offset, bytes }) => [id, offset, bytes.length]),
    [[2, 24, 32], [3, 56, 12], [1, 68, 48]],
  );
});

it("no capabilities are an empty chain", () => {
  assert.deepEqual(walkCapabilities(info(), 0, "region 9", FIXED), []);
});

it("a chain may run backwards, and have unknown ids and versions", () => {
  const bytes = info(capability(500, 0, [1]), capability(7, 24, [2]));
  const found = walkCapabilities(bytes, 36, "region 9", FIXED);
  assert.deepEqual(found.map(({ id, offset, bytes }) => [id, offset, bytes.length]), [
    [7, 36, 12],
    [500, 24, 12],
  ]);
});

it("every way in which a chain can be broken is an error that names it", () => {
  const cases: [CapabilityDefect, Uint8Array<ArrayBuffer>, number, RegExp][] = [
    ["loop", info(capability(2, 24)), 24, /capability 2 at offset 24 leads back to offset 24$/],
    ["loop", info(capability(2, 32), capability(1, 24)), 24, /leads back to offset 24$/],
    ["outside", info(capability(2, 4096)), 24, /leads to offset 4096, outside its 32 bytes$/],
    ["outside", info(), 0xffff_fffc, /the info struct leads to offset 4294967292, outside/],
    ["odd-offset", info(capability(2, 33)), 24, /leads to offset 33, which is not a multiple of 4/],
    ["inside-struct", info(capability(2, 8)), 24, /leads to offset 8, inside the info struct/],
    ["truncated", info(capability(2, 32), new Uint8Array(4)), 24, /end within the header/],
    [
      "overlap",
      info(capability(2, 28, [0, 0])),
      24,
      /capability 2 at offset 24 overlaps the one at offset 28$/,
    ],
  ];
  for (const [defect, bytes, start, message] of cases) {
    const error = defectOf(bytes, start);
    assert.equal(error.defect, defect);
    assert.match(error.message, message);
  }
});

it("random bytes as a chain end in a list or a CapabilityError, inside their bounds", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: FIXED, maxLength: 256 }),
      fc.nat({ max: 300 }),
      (random, start) => {
        // A tight copy inside a larger buffer: whatever lies around it must not be reached.
        const around = new Uint8Array(new ArrayBuffer(random.length + 64));
        around.set(random, 32);
        const bytes = around.subarray(32, 32 + random.length);
        try {
          for (const one of walkCapabilities(bytes, start, "x", FIXED)) {
            assert.ok(one.offset >= FIXED && one.offset % 4 === 0);
            assert.ok(one.bytes.length >= 8);
            assert.ok(one.offset + one.bytes.length <= bytes.length);
            assert.equal(one.bytes.byteOffset, 32 + one.offset);
          }
        } catch (error) {
          assert.ok(error instanceof CapabilityError, String(error));
        }
      },
    ),
    { numRuns: 500 },
  );
});

it("chains of short hops, which are the likeliest to loop, end as well", () => {
  const hop = fc.record({ id: fc.nat({ max: 4 }), next: fc.nat({ max: 40 }).map((n) => n * 4) });
  fc.assert(
    fc.property(fc.array(hop, { minLength: 1, maxLength: 16 }), (hops) => {
      const bytes = info(...hops.map(({ id, next }) => capability(id, next)));
      try {
        const found = walkCapabilities(bytes, FIXED, "x", FIXED);
        assert.equal(new Set(found.map(({ offset }) => offset)).size, found.length);
      } catch (error) {
        assert.ok(error instanceof CapabilityError, String(error));
      }
    }),
    { numRuns: 500 },
  );
});
