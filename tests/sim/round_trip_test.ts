import { describe, it } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { SimKernel } from "../../src/sim/mod.ts";
import { type Bytes, Client, PRE_COPY, RUNNING, STOP, STOP_AND_COPY } from "./_client.ts";

const PAGE = 4096;

/** A clock that the test moves. */
function clock(): { now: () => number; pass: (ms: number) => void } {
  let time = 1000;
  return { now: () => time, pass: (ms) => time += ms };
}

const area = (chunk: number) => (pending: number): number =>
  Math.min(pending, Math.ceil(chunk / PAGE) * PAGE);

describe("a simulated device", () => {
  const whole = fc.record({
    personality: fc.constantFrom("trapped", "mapped", "partitioned", "nvidia-vgpu"),
    pages: fc.integer({ min: 1, max: 70 }),
    chunk: fc.oneof(fc.integer({ min: 64, max: 300 }), fc.integer({ min: 301, max: 70000 })),
    rate: fc.constantFrom(0, 40, 4000),
    rounds: fc.integer({ min: 0, max: 3 }),
    seed: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  });

  it("is the same after a save and a restore, and counts no violation", () => {
    fc.assert(
      fc.property(whole, ({ personality, pages, chunk, rate, rounds, seed }) => {
        const { now, pass } = clock();
        const query = `size=${pages * PAGE}&chunk=${chunk}`;
        const kernel = SimKernel.withClock(
          now,
          `sim:${personality}?${query}&rate=${rate * PAGE}&seed=${seed}`,
          `sim:${personality}?${query}&seed=99`,
        );
        using from = new Client(kernel, 0);
        using to = new Client(kernel, 1);
        if (personality !== "trapped") {
          from.map();
          to.map();
        }
        const sizeOf = personality === "nvidia-vgpu" ? area(chunk) : undefined;
        const transactions: Bytes[] = [];
        if (rounds > 0) from.state = PRE_COPY;
        for (let round = 0; round < rounds; round += 1) {
          for (let i = 0; i < 200; i += 1) {
            const data = from.transaction(sizeOf);
            if (data === null) break;
            transactions.push(data);
            if (i % 16 === 3) pass(1);
          }
          pass(5);
        }
        from.state = STOP_AND_COPY;
        transactions.push(...from.drain(sizeOf));
        from.state = STOP;
        const saved = from.device.checksum();
        to.restore(transactions);
        assert.equal(to.device.checksum(), saved);
        assert.deepEqual([...from.device.violations, ...to.device.violations], []);
        from.close();
        to.close();
        assert.deepEqual(kernel.openObjects, []);
      }),
      { numRuns: 60 },
    );
  });

  it("generates the same state from the same seed, and another from another seed", () => {
    const [a, b, c] = new SimKernel("trapped?seed=5", "mapped?seed=5", "trapped?seed=6").devices;
    assert.equal(a!.checksum(), b!.checksum());
    assert.notEqual(a!.checksum(), c!.checksum());
  });

  it("changes its state while it runs, and not while it is stopped", () => {
    const { now, pass } = clock();
    const kernel = SimKernel.withClock(now, "trapped?size=1MiB&rate=64KiB");
    using client = new Client(kernel);
    const { device } = client;
    const first = device.checksum();
    pass(1000);
    const second = device.checksum();
    assert.notEqual(second, first);
    client.state = STOP;
    pass(1000);
    assert.equal(device.checksum(), second);
    client.state = RUNNING;
    assert.equal(device.checksum(), second);
    client.reset();
    assert.equal(device.checksum(), first);
  });

  it("yields changed pages in pre-copy, and the rest when it is stopped", () => {
    const { now, pass } = clock();
    const kernel = SimKernel.withClock(now, "trapped?size=4MiB&rate=1MiB&chunk=256KiB");
    using client = new Client(kernel);
    client.state = PRE_COPY;
    assert.equal(client.pending, 4 * 1024 * 1024 + 32);
    client.drain();
    assert.equal(client.pending, 0);
    pass(100);
    const pending = client.pending;
    assert.ok(pending > 10 * PAGE && pending < 30 * PAGE, `${pending}`);
    client.state = STOP_AND_COPY;
    pass(100);
    assert.equal(client.pending, pending);
    assert.ok(client.drain().length > 0);
    assert.equal(client.pending, 0);
  });

  it("has a last transaction when it is stopped, even if nothing changed", () => {
    using client = Client.of("mapped?size=64KiB");
    client.state = PRE_COPY;
    client.drain();
    client.state = STOP_AND_COPY;
    assert.equal(client.pending, 32);
    assert.deepEqual(client.drain().map(({ length }) => length), [32]);
  });

  it("needs no memory for a state of 64 GiB", () => {
    using client = Client.of("trapped?size=64GiB&chunk=1MiB");
    client.state = STOP_AND_COPY;
    assert.equal(client.pending, 64 * 1024 ** 3 + 32);
    assert.equal(client.transaction()!.length, 1024 ** 2);
  });

  it("is in its initial state when it is opened again", () => {
    const kernel = new SimKernel("trapped?size=64KiB&seed=1", "trapped?size=64KiB&seed=2");
    const from = new Client(kernel, 0);
    from.state = STOP_AND_COPY;
    const transactions = from.drain();
    const to = new Client(kernel, 1);
    const before = to.device.checksum();
    to.restore(transactions);
    assert.equal(to.device.checksum(), from.device.checksum());
    to.close();
    assert.equal(to.device.checksum(), from.device.checksum());
    using again = new Client(kernel, 1);
    assert.equal(again.device.checksum(), before);
    assert.equal(again.state, RUNNING);
    from.close();
  });
});
