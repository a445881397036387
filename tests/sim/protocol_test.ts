import { describe, it } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { isErrno } from "../../src/kernel/sys_error.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import {
  type Bytes,
  bytes,
  Client,
  DATA_OFFSET,
  DATA_SIZE,
  DEVICE_STATE,
  ERROR,
  int,
  PENDING_BYTES,
  PRE_COPY,
  RESUMING,
  RUNNING,
  STOP,
  STOP_AND_COPY,
} from "./_client.ts";

function refused(code: string, call: () => unknown): void {
  assert.throws(call, (error) => isErrno(error, code), code);
}

/** Checks that an act of the user is refused, and counted as one violation. */
function accused(
  spec: string,
  told: RegExp,
  act: (client: Client) => void,
  code: string | null = "EINVAL",
): void {
  using client = Client.of(spec);
  if (code === null) act(client);
  else refused(code, () => act(client));
  assert.equal(client.device.violations.length, 1, client.device.violations.join("; "));
  assert.match(client.device.violations[0]!, told);
}

/** A save of another device, to restore from. */
function saved(spec = "trapped?size=64KiB&chunk=16KiB&seed=9"): Bytes[] {
  using client = Client.of(spec);
  client.state = STOP_AND_COPY;
  return client.drain();
}

describe("the registers of a simulated migration region", () => {
  it("have the protocol's values at open", () => {
    using client = Client.of("trapped?reserved=0xdeadbee8");
    assert.equal(client.register, 0xdeadbee9);
    assert.equal(client.pending, 0);
    assert.deepEqual([...client.readRaw(4, 4)], [0, 0, 0, 0]);
    client.writeRaw(4, int(-1));
    assert.deepEqual([...client.readRaw(4, 4)], [0, 0, 0, 0]);
    assert.deepEqual(client.device.violations, []);
  });

  it("are accessible only at their own width and offset", () => {
    for (const [at, width] of [[0, 8], [0, 1], [8, 4], [16, 2], [20, 4], [24, 32], [2, 4]]) {
      accused("trapped", /matches no register/, (c) => c.readRaw(at!, width!));
      accused("trapped", /matches no register/, (c) => c.writeRaw(at!, bytes(width!)));
    }
  });

  it("must be read in order while saving", () => {
    const saving = (act: (client: Client) => void) => (client: Client): void => {
      client.state = PRE_COPY;
      act(client);
    };
    accused("trapped", /data_offset was read before pending_bytes/, saving((c) => c.dataOffset));
    accused(
      "trapped",
      /data_size was read before data_offset/,
      saving((c) => {
        c.pending;
        c.dataSize;
      }),
    );
    accused(
      "trapped",
      /data was read before data_size/,
      saving((c) => {
        c.pending;
        c.readRaw(c.dataOffset, 8);
      }),
    );
    accused(
      "trapped",
      /data_offset was read although pending_bytes was 0/,
      saving((c) => {
        c.drain();
        c.dataOffset;
      }),
    );
    accused(
      "trapped?chunk=8KiB",
      /only 100 of 8192 bytes of transaction 1 were read/,
      saving((c) => {
        c.pending;
        c.readRaw(c.dataOffset, Math.min(c.dataSize, 100));
        c.pending;
      }),
      null,
    );
    accused(
      "trapped?chunk=8KiB",
      /bytes 4097 to 12289 were read; the data lies from 4096 to 12288/,
      saving((c) => {
        c.pending;
        c.readRaw(c.dataOffset + 1, c.dataSize);
      }),
    );
  });

  it("return the same transaction no matter how often they are read", () => {
    using client = Client.of("partitioned?size=64KiB&chunk=20000");
    client.state = STOP_AND_COPY;
    assert.equal(client.pending, client.pending);
    const offset = client.dataOffset;
    const size = client.dataSize;
    const data = client.readData(offset, size);
    assert.equal(client.dataOffset, offset);
    assert.equal(client.dataSize, size);
    assert.deepEqual(client.readData(offset, size), data);
    assert.ok(client.pending > 0);
    assert.notEqual(client.dataOffset, offset);
    assert.deepEqual(client.device.violations, []);
  });

  it("must be used in order while restoring", () => {
    const [data] = saved() as [Bytes];
    const resuming = (act: (client: Client) => void) => (client: Client): void => {
      client.state = RESUMING;
      act(client);
    };
    const spec = "trapped?size=64KiB&chunk=16KiB";
    accused(
      spec,
      /data was written before data_offset was read/,
      resuming((c) => c.writeRaw(4096, data)),
    );
    accused(
      spec,
      /data_size was written before data_offset was read/,
      resuming((c) => c.write64(DATA_SIZE, 1n)),
    );
    accused(
      spec,
      /data_size is 100, but 200 bytes were written/,
      resuming((c) => {
        c.writeRaw(c.dataOffset, bytes(200));
        c.write64(DATA_SIZE, 100n);
      }),
    );
    accused(
      spec,
      /data_size is 18446744073709552000, but at most 16384 fit/,
      resuming((c) => {
        c.dataOffset;
        c.write64(DATA_SIZE, 2n ** 64n - 1n);
      }),
    );
    accused(
      spec,
      /bytes 4096 to 20481 were written; the data lies from 4096 to 20480/,
      resuming((c) => c.writeRaw(c.dataOffset, bytes(16385))),
    );
    accused(
      spec,
      /data_size was read, but the device is not being saved/,
      resuming((c) => c.dataSize),
    );
  });

  it("cannot be used outside saving and restoring", () => {
    accused(
      "trapped",
      /data_offset was read, but the device is neither being saved nor restored/,
      (c) => c.dataOffset,
    );
    accused("trapped", /data_size was read/, (c) => c.dataSize);
    accused("trapped", /data_size was written/, (c) => c.write64(DATA_SIZE, 1n));
    accused("trapped", /data was read/, (c) => c.readRaw(4096, 8));
    accused("trapped", /data was written/, (c) => c.writeRaw(4096, bytes(8)));
    accused(
      "trapped",
      /pending_bytes was written; it is read-only/,
      (c) => c.write64(PENDING_BYTES, 1n),
    );
    accused(
      "trapped",
      /data_offset was written; it is read-only/,
      (c) => c.write64(DATA_OFFSET, 1n),
    );
  });

  it("keep the value written to the reserved bits, and count a change of them", () => {
    using client = Client.of("trapped?reserved=0xf0");
    client.writeRaw(DEVICE_STATE, int(PRE_COPY));
    assert.equal(client.register, PRE_COPY);
    assert.match(client.device.violations[0]!, /bits 3 to 31 .* from 0xf1 to 0x3/);
    client.state = STOP;
    assert.equal(client.device.violations.length, 1);
  });
});

describe("the states of a simulated device", () => {
  const ALLOWED: ReadonlySet<string> = new Set([
    ...["0>0", "0>1", "1>0", "1>1", "1>2", "1>3", "1>4"],
    ...["2>0", "2>1", "2>2", "3>0", "3>1", "3>2", "4>4"],
  ]);
  const PATHS: Readonly<Record<number, readonly number[]>> = {
    0: [STOP],
    1: [],
    2: [STOP_AND_COPY],
    3: [PRE_COPY],
    4: [RESUMING],
  };

  it("follow each other only along the arcs", () => {
    for (let from = 0; from <= 4; from += 1) {
      for (let to = 0; to <= 7; to += 1) {
        using client = Client.of("trapped?size=4KiB");
        for (const state of PATHS[from]!) client.state = state;
        const step = (): void => {
          client.state = to;
        };
        if (ALLOWED.has(`${from}>${to}`)) {
          step();
          assert.equal(client.state, to);
          assert.deepEqual(client.device.violations, []);
          continue;
        }
        refused("EINVAL", step);
        assert.equal(client.state, from);
        // An incomplete restore is refused, but the attempt is not a violation.
        assert.equal(client.device.violations.length, from === 4 && to === 1 ? 0 : 1);
      }
    }
  });

  it("leave ERROR only by a reset", () => {
    using client = Client.of("trapped?fault=error-state:1");
    refused("EIO", () => client.state = STOP);
    assert.equal(client.state, ERROR);
    assert.equal(client.register >>> 3, 0xa5a5a5a0 >>> 3);
    for (const state of [STOP, RUNNING, STOP_AND_COPY]) refused("EIO", () => client.state = state);
    assert.equal(client.device.violations.length, 3);
    client.reset();
    assert.equal(client.state, RUNNING);
  });

  it("start over after a reset, whatever was in progress", () => {
    using client = Client.of("trapped?size=64KiB&chunk=16KiB&seed=1");
    const fresh = client.device.checksum();
    client.state = RESUMING;
    const transactions = saved();
    client.put(transactions[0]!);
    assert.notEqual(client.device.checksum(), fresh);
    client.reset();
    assert.equal(client.state, RUNNING);
    assert.equal(client.device.checksum(), fresh);
    client.restore(transactions);
    assert.notEqual(client.device.checksum(), fresh);
    assert.deepEqual(client.device.violations, []);
  });
});

describe("a restore of a simulated device", () => {
  const SPEC = "trapped?size=64KiB&chunk=16KiB&seed=1";
  const transactions = saved();
  const last = transactions.at(-1)!;

  it("that was cut short anywhere is refused at the step to RUNNING", () => {
    for (let count = 0; count < transactions.length; count += 1) {
      using client = Client.of(SPEC);
      refused("EINVAL", () => client.restore(transactions.slice(0, count)));
      assert.equal(client.state, RESUMING);
      assert.deepEqual(client.device.violations, []);
    }
  });

  it("that repeats, drops or swaps a transaction is refused there, and counted", () => {
    const [a, b, c, ...rest] = transactions as [Bytes, Bytes, Bytes, ...Bytes[]];
    for (const wrong of [[a, a], [a, c], [b], [a, c, b, ...rest]]) {
      using client = Client.of(SPEC);
      refused("EINVAL", () => client.restore(wrong));
      assert.match(client.device.violations[0]!, /transaction \d came instead of \d/);
    }
  });

  it("that splits a transaction in two is refused, and counted", () => {
    using client = Client.of(SPEC);
    const [first] = transactions as [Bytes];
    refused("EINVAL", () => client.restore([first.slice(0, 8000), first.slice(8000)]));
    assert.match(client.device.violations[0]!, /transaction 0 has 8000 bytes, but had 16384 when/);
  });

  it("refuses data after the last transaction", () => {
    using client = Client.of(SPEC);
    refused("EINVAL", () => client.restore([...transactions, last]));
  });

  it("into a device of another size is refused", () => {
    using client = Client.of("trapped?size=128KiB&chunk=16KiB");
    refused("EINVAL", () => client.restore(transactions));
    assert.deepEqual(client.device.violations, []);
  });

  it("keeps bytes that no device generated", () => {
    using client = Client.of(SPEC);
    const changed = transactions.map((data) => data.slice());
    changed[1]![9000]! ^= 1;
    client.restore(transactions);
    const sound = client.device.checksum();
    client.reset();
    client.restore(changed);
    assert.notEqual(client.device.checksum(), sound);
    // The next save has them too.
    client.state = STOP_AND_COPY;
    const again = client.drain();
    using other = Client.of(SPEC);
    other.restore(again);
    assert.equal(other.device.checksum(), client.device.checksum());
  });

  it("refuses garbage, and does not change the state", () => {
    const kernel = new SimKernel(SPEC);
    const garbage = fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 200 }),
      // A valid transaction with a few words overwritten.
      fc.tuple(fc.nat(transactions[0]!.length / 4 - 1), fc.nat(), fc.nat(60)).map(
        ([at, value, head]) => {
          const data = transactions[0]!.slice();
          const view = new DataView(data.buffer);
          view.setUint32(at * 4, value, true);
          view.setUint8(head, value & 0xff);
          return data;
        },
      ),
    );
    fc.assert(fc.property(garbage, (data) => {
      using client = new Client(kernel);
      client.state = RESUMING;
      const before = client.device.checksum();
      try {
        client.put(new Uint8Array(data));
      } catch (error) {
        assert.ok(isErrno(error, "EINVAL"));
        assert.equal(client.device.checksum(), before);
      }
    }));
  });
});
