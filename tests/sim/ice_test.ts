import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { isErrno } from "../../src/kernel/sys_error.ts";
import {
  bytes,
  Client,
  DATA_SIZE,
  DEVICE_STATE,
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

const SIZE = 128 * 1024 + 48;

describe("a simulated ice", () => {
  it("begins with device_state 0, which neither open nor reset touches", () => {
    using client = Client.of("ice");
    assert.equal(client.register, 0);
    client.state = PRE_COPY;
    client.reset();
    assert.equal(client.register, PRE_COPY);
  });

  it("has one transaction at offset 32, only while it is stopped", () => {
    using client = Client.of("ice");
    client.state = PRE_COPY;
    assert.equal(client.pending, 0);
    assert.equal(client.dataOffset, 32);
    refused("EINVAL", () => client.dataSize);
    client.state = STOP_AND_COPY;
    assert.equal(client.pending, SIZE);
    assert.equal(client.dataOffset, 32);
    assert.equal(client.dataSize, SIZE);
    client.readRaw(32, SIZE);
    assert.equal(client.pending, 0);
  });

  it("decreases pending_bytes with every read, until it wraps", () => {
    using client = Client.of("ice");
    client.state = STOP_AND_COPY;
    client.readRaw(32, SIZE - 8);
    assert.equal(client.pending, 8);
    client.readRaw(32, 16);
    assert.equal(client.read64(PENDING_BYTES), 2n ** 64n - 8n);
    assert.match(client.device.violations.join(), /data was read twice/);
    client.state = STOP;
    assert.equal(client.pending, 0);
  });

  it("loads the state at the step to RUNNING, and refuses an invalid state there", () => {
    using from = Client.of("ice?seed=1");
    from.state = STOP_AND_COPY;
    const [data] = from.drain();
    using to = Client.of("ice?seed=2");
    to.restore([data!]);
    assert.equal(to.device.checksum(), from.device.checksum());
    assert.deepEqual([...from.device.violations, ...to.device.violations], []);

    using wrong = Client.of("ice?seed=3");
    const before = wrong.device.checksum();
    wrong.state = RESUMING;
    wrong.writeRaw(32, bytes(SIZE).fill(7));
    wrong.write64(DATA_SIZE, BigInt(SIZE));
    refused("EINVAL", () => wrong.state = RUNNING);
    assert.equal(wrong.state, RESUMING);
    assert.equal(wrong.device.checksum(), before);
    wrong.state = STOP;
    wrong.state = RUNNING;
  });

  it("takes a data_size of the exact size, only while restoring", () => {
    using client = Client.of("ice");
    refused("EINVAL", () => client.write64(DATA_SIZE, BigInt(SIZE)));
    client.state = RESUMING;
    refused("EINVAL", () => client.write64(DATA_SIZE, BigInt(SIZE - 1)));
    client.write64(DATA_SIZE, BigInt(SIZE));
  });

  it("answers EFAULT to an unknown offset, EINVAL to a wrong width", () => {
    using client = Client.of("ice");
    refused("EFAULT", () => client.readRaw(4, 4));
    refused("EFAULT", () => client.readRaw(12, 8));
    refused("EINVAL", () => client.readRaw(0, 8));
    refused("EINVAL", () => client.readRaw(8, 4));
    refused("EFAULT", () => client.write64(PENDING_BYTES, 1n));
    refused("EFAULT", () => client.writeRaw(DEVICE_STATE, int(5)));
    refused("EFAULT", () => client.writeRaw(DEVICE_STATE, int(0x11)));
    refused("EINVAL", () => client.readRaw(32, SIZE + 1));
  });
});
