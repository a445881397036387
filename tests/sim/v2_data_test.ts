import { describe, it } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { isErrno } from "../../src/kernel/sys_error.ts";
import { POLLIN } from "../../src/kernel/kernel.ts";
import { V2_DRIVERS } from "../../src/sim/v2_drivers.ts";
import { getHeader, TAG_SIZE } from "../../src/sim/v2/v2_records.ts";
import {
  PRE_COPY,
  PRE_COPY_P2P,
  RESUMING,
  RUNNING,
  STOP,
  STOP_COPY,
} from "../../src/sim/v2/v2_states.ts";
import { VFIO_DEVICE_RESET, VFIO_MIG_GET_PRECOPY_INFO } from "../../src/uapi/mod.ts";
import { type Bytes, bytes } from "./_device_client.ts";
import { V2Client } from "./_v2_client.ts";

function refused(code: string, call: () => unknown): void {
  assert.throws(call, (error) => isErrno(error, code), code);
}

const ALL = Object.keys(V2_DRIVERS);
const SMALL = "size=64KiB&chunk=20000";

function saved(spec: string): Bytes {
  using client = V2Client.of(spec);
  client.go(STOP_COPY);
  return client.readAll();
}

/** Reads until the driver says that there is no data now; returns the bytes read. */
function readUntilDrained(client: V2Client, code: string | null): number {
  let total = 0;
  for (;;) {
    try {
      const { length } = client.read(10_000);
      if (length === 0) break;
      total += length;
    } catch (error) {
      assert.ok(isErrno(error, code ?? "none"), String(error));
      return total;
    }
  }
  assert.equal(code, null);
  return total;
}

describe("the data of a simulated v2 device", () => {
  for (const name of ALL) {
    it(`gives another device the same state, in reads and writes of any size: ${name}`, () => {
      fc.assert(
        fc.property(
          fc.integer({ min: 1, max: 200_000 }),
          fc.integer({ min: 1, max: 200_000 }),
          fc.boolean(),
          (reads, writes, preCopy) => {
            using from = V2Client.of(`${name}?${SMALL}&seed=1`);
            using to = V2Client.of(`${name}?${SMALL}&seed=2`);
            if (preCopy && V2_DRIVERS[name as "mlx5"]!.flags & 4) from.go(PRE_COPY);
            from.go(STOP_COPY);
            const data = from.readAll(Math.max(reads, 100));
            assert.equal(from.read(100).length, 0);
            to.go(RESUMING);
            to.writeAll(data, Math.max(writes, 100));
            to.go(RUNNING);
            assert.equal(from.device.checksum(), to.device.checksum());
            from.go(STOP);
            assert.deepEqual([...from.device.violations, ...to.device.violations], []);
          },
        ),
        { numRuns: 20 },
      );
    });

    it(`is refused at the step to STOP if it was cut short: ${name}`, () => {
      const data = saved(`${name}?${SMALL}`);
      for (const length of [0, 1, 15, 16, 17, 40, 1000, data.length - 1]) {
        using client = V2Client.of(`${name}?${SMALL}`);
        client.go(RESUMING);
        client.writeAll(data.subarray(0, length));
        refused("EINVAL", () => client.go(RUNNING));
        assert.equal(client.v2State, RESUMING);
        assert.deepEqual(client.device.violations, []);
      }
    });

    it(`is refused after its end: ${name}`, () => {
      const data = saved(`${name}?${SMALL}`);
      using client = V2Client.of(`${name}?${SMALL}`);
      client.go(RESUMING);
      client.writeAll(data);
      refused(V2_DRIVERS[name as "mlx5"]!.tooLong, () => client.write(bytes(1)));
      assert.equal(client.v2State, RESUMING);
    });

    it(`is refused if it is from a device that does not match: ${name}`, () => {
      const { mismatch } = V2_DRIVERS[name as "mlx5"]!;
      const data = saved(`${name}?size=128KiB`);
      using client = V2Client.of(`${name}?size=64KiB`);
      client.go(RESUMING);
      refused(mismatch, () => client.writeAll(data));
      // Going on after that is a violation.
      refused(mismatch, () => client.write(data));
      assert.match(client.device.violations.join(), /was written after a write had failed/);
      refused("EINVAL", () => client.go(STOP));
      assert.match(client.device.violations.join(), /STOP was asked for after a write/);
      client.reset();
      assert.equal(client.v2State, RUNNING);
    });
  }

  it("begins with a preface that identifies the device, if the driver checks it", () => {
    for (const [a, b] of [["qat", "hisi"], ["hisi", "mtty"], ["mtty", "qat"]]) {
      using client = V2Client.of(b!);
      client.go(RESUMING);
      refused(V2_DRIVERS[b as "qat"]!.mismatch, () => client.write(saved(a!)));
    }
  });

  it("has records that may be skipped, and records that may not", () => {
    const data = saved(`mlx5?${SMALL}`);
    const view = new DataView(data.buffer);
    assert.deepEqual(getHeader(view), { size: 8, flags: 1, tag: TAG_SIZE });
    view.setUint32(12, 99, true);
    using skipping = V2Client.of(`mlx5?${SMALL}`);
    skipping.go(RESUMING);
    skipping.writeAll(data);
    skipping.go(STOP);
    view.setUint32(8, 0, true);
    using refusing = V2Client.of(`mlx5?${SMALL}`);
    refusing.go(RESUMING);
    refused("EOPNOTSUPP", () => refusing.write(data));
  });

  it("is refused if a record is larger than memory, or empty", () => {
    for (const [size, code] of [[2n ** 63n, "ENOMEM"], [0n, "EINVAL"]] as const) {
      const record = bytes(16);
      new DataView(record.buffer).setBigUint64(0, size, true);
      using client = V2Client.of("virtio");
      client.go(RESUMING);
      refused(code, () => client.write(record));
    }
  });
});

describe("PRE_COPY of a simulated device", () => {
  for (const name of ["mlx5", "virtio"]) {
    it(`yields the whole state, then the changes that a scan has found: ${name}`, () => {
      let now = 0;
      using client = V2Client.withClock(() => now, `${name}?size=1MiB&rate=40KiB`);
      client.go(PRE_COPY);
      const { initial, dirty } = client.info();
      assert.ok(initial >= 2 ** 20);
      assert.equal(dirty, 0);
      now += 1000;
      const first = readUntilDrained(client, "ENOMSG");
      assert.ok(first >= 2 ** 20 && first < 2 ** 20 + 100_000, String(first));
      now += 1000;
      // A read does not scan for changes.
      refused("ENOMSG", () => client.read(1));
      const changed = client.info();
      assert.equal(changed.initial, 0);
      assert.ok(changed.dirty >= 10 * 4096);
      assert.ok(readUntilDrained(client, "ENOMSG") >= changed.dirty);
      client.go(STOP_COPY);
      assert.ok(client.readAll().length < 2 ** 17);
      assert.deepEqual(client.device.violations, []);
    });
  }

  it("scans for changes at most ten times per second: virtio", () => {
    let now = 0;
    using client = V2Client.withClock(() => now, "virtio?size=64KiB&rate=1MiB");
    client.go(PRE_COPY);
    readUntilDrained(client, "ENOMSG");
    now += 1000;
    assert.ok(client.info().dirty > 0);
    readUntilDrained(client, "ENOMSG");
    now += 99;
    assert.equal(client.info().dirty, 0);
    now += 1;
    assert.ok(client.info().dirty > 0);
  });

  for (const name of ["qat", "hisi", "mtty"]) {
    it(`yields only a preface, and then 0 bytes: ${name}`, () => {
      using client = V2Client.of(`${name}?size=1MiB&rate=1MiB`);
      client.go(PRE_COPY);
      const { initial, dirty } = client.info();
      assert.deepEqual([initial, dirty], [40, 0]);
      assert.equal(readUntilDrained(client, null), 40);
      assert.deepEqual(client.info(), { initial: 0, dirty: 0 });
      client.go(STOP_COPY);
      assert.ok(client.readAll().length > 2 ** 20);
    });
  }

  it("keeps its fd to the end, and the reader's position in it", () => {
    for (const by of [[STOP_COPY], [PRE_COPY_P2P, STOP_COPY]]) {
      using client = V2Client.of(`mlx5?${SMALL}`);
      client.go(PRE_COPY);
      const { data } = client;
      client.read(1000);
      client.go(...by);
      assert.equal(client.data, data);
      assert.ok(client.readAll().length > 65536 - 1000);
    }
  });

  it("answers VFIO_MIG_GET_PRECOPY_INFO only with a valid argument and in PRE_COPY", () => {
    using client = V2Client.of("mlx5");
    const ask = (argument: Bytes): void => {
      client.kernel.ioctl(client.data, VFIO_MIG_GET_PRECOPY_INFO, argument);
    };
    client.go(PRE_COPY);
    refused("ENOTTY", () => client.kernel.ioctl(client.data, VFIO_DEVICE_RESET));
    refused("EFAULT", () => ask(bytes(23)));
    refused("EINVAL", () => ask(bytes(24)));
    assert.deepEqual(client.device.violations, []);
    client.info(7);
    assert.match(client.device.violations.at(-1)!, /with flags 7/);
    client.go(STOP_COPY);
    refused("EINVAL", () => client.info());
    assert.match(client.device.violations.at(-1)!, /outside PRE_COPY/);
    client.go(RESUMING);
    refused("ENOTTY", () => client.info());
    using other = V2Client.of("pds");
    other.go(STOP_COPY);
    refused("ENOTTY", () => other.info());
  });
});

describe("a data fd of a simulated device", () => {
  it("cannot be used once the device has left its states, or was reset or closed", () => {
    const ways: readonly (readonly [number, (client: V2Client) => void])[] = [
      [PRE_COPY, (client) => client.go(RUNNING)],
      [STOP_COPY, (client) => client.go(STOP)],
      [RESUMING, (client) => client.reset()],
      [STOP_COPY, (client) => client.kernel.close(client.fd)],
    ];
    for (const [state, leave] of ways) {
      const client = V2Client.of(`hisi?${SMALL}`);
      client.go(state);
      leave(client);
      refused("ENODEV", () => state === RESUMING ? client.write(bytes(8)) : client.read(8));
      assert.match(client.device.violations.join(), /after the device had left its state/);
    }
  });

  it("is counted as open until it is closed", () => {
    const client = V2Client.of(`mlx5?${SMALL}`);
    client.go(PRE_COPY);
    const { data } = client;
    client.data = -1;
    client.close();
    assert.deepEqual(client.kernel.openObjects, [`fd ${data} the save fd of 0000:3b:00.1`]);
    client.kernel.close(data);
    assert.deepEqual(client.kernel.openObjects, []);
  });

  it("is a stream in one direction", () => {
    using client = V2Client.of(`mlx5?${SMALL}`);
    client.go(STOP_COPY);
    refused("ESPIPE", () => client.kernel.pread(client.data, bytes(8), 0));
    refused("ESPIPE", () => client.kernel.pwrite(client.data, bytes(8), 0));
    refused("EBADF", () => client.write(bytes(8)));
    client.go(RESUMING);
    refused("EBADF", () => client.read(8));
    refused("ENODEV", () => client.kernel.mmap(4096, { fd: client.data, prot: 1, flags: 1 }));
    assert.equal(client.device.violations.length, 4);
  });

  it("reports by poll whether there is data, if the driver supports it", () => {
    using client = V2Client.of(`mlx5?${SMALL}`);
    client.go(PRE_COPY);
    assert.equal(client.ready, POLLIN);
    readUntilDrained(client, "ENOMSG");
    assert.equal(client.ready, 0);
    client.go(STOP_COPY);
    assert.equal(client.ready, POLLIN);
    client.go(STOP);
    assert.equal(client.ready, POLLIN | 0x2000);
    using other = V2Client.of(`hisi?${SMALL}`);
    other.go(PRE_COPY);
    readUntilDrained(other, null);
    assert.equal(other.ready, POLLIN);
  });
});
