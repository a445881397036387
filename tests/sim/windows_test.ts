import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { isErrno } from "../../src/kernel/sys_error.ts";
import { bytes, Client, PRE_COPY, STOP_AND_COPY } from "./_client.ts";

function refused(code: string, call: () => unknown): void {
  assert.throws(call, (error) => isErrno(error, code), code);
}

describe("the vendor window", () => {
  it("shows the device's internal state", () => {
    using client = Client.of("trapped?size=64KiB&chunk=16KiB&seed=1&reserved=0");
    const window = (): DataView => {
      const raw = bytes(40);
      client.kernel.pread(client.fd, raw, 0);
      return new DataView(raw.buffer);
    };
    assert.equal(window().getUint32(0, true), 0x54494b56);
    assert.equal(window().getUint32(4, true), 1);
    assert.equal(window().getUint32(12, true), 0);
    assert.equal(window().getBigUint64(16, true), 65536n);
    using other = Client.of("trapped?size=64KiB&chunk=16KiB&seed=9");
    other.state = STOP_AND_COPY;
    client.restore(other.drain());
    assert.equal(window().getUint32(12, true), 1);
    assert.equal(window().getUint32(24, true), client.device.checksum());
    client.state = PRE_COPY;
    assert.equal(window().getUint32(28, true), PRE_COPY);
    refused("EINVAL", () => client.dataOffset);
    assert.equal(window().getUint32(8, true), 1);
    refused("EINVAL", () => client.kernel.pwrite(client.fd, bytes(4), 0));
    refused("EINVAL", () => client.kernel.pread(client.fd, bytes(4), 4096));
    assert.equal(client.kernel.pread(client.fd, bytes(8), 4092), 4);
  });
});

describe("the configuration space", () => {
  it("holds the ids of the personality", () => {
    using client = Client.of("nvidia-vgpu");
    const raw = bytes(256);
    client.kernel.pread(client.fd, raw, 7 * 2 ** 40);
    const view = new DataView(raw.buffer);
    assert.deepEqual(
      [0, 2, 0x2c, 0x2e].map((at) => view.getUint16(at, true)),
      [0x10de, 0x1eb8, 0x10de, 0x1309],
    );
    refused("EFAULT", () => client.kernel.pread(client.fd, bytes(8), 7 * 2 ** 40 + 250));
  });

  it("has only one writable register, the command register", () => {
    using client = Client.of("trapped");
    const at = 7 * 2 ** 40;
    client.kernel.pwrite(client.fd, new Uint8Array(8).fill(0xff), at);
    const raw = bytes(8);
    client.kernel.pread(client.fd, raw, at);
    assert.deepEqual([...raw], [0x4b, 0x56, 1, 0, 0x07, 0x04, 0, 0]);
    client.reset();
    client.kernel.pread(client.fd, raw, at);
    assert.deepEqual([...raw.subarray(4)], [0, 0, 0, 0]);
  });
});
