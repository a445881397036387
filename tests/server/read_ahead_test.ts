/** Migration data that the server reads before a client asks for it. */

import assert from "node:assert/strict";
import * as fs from "node:fs";
import { describe, it } from "node:test";
import { ERRNO } from "../../src/kernel/errno_names.ts";
import type { Kernel } from "../../src/kernel/kernel.ts";
import { libcKernel } from "../../src/kernel/libc/libc_kernel.ts";
import { isErrno, SysError } from "../../src/kernel/sys_error.ts";
import { MigrationData } from "../../src/server/requests/migration_data.ts";
import { DeviceSource } from "../../src/server/requests/open_device.ts";
import { errnoOfRefusal } from "../../src/server/requests/refuse.ts";
import { Session } from "../../src/server/requests/session.ts";
import { readTrace, Trace } from "../../src/trace/mod.ts";
import {
  VFIO_DEVICE_STATE_PRE_COPY,
  VFIO_DEVICE_STATE_RUNNING,
  VFIO_DEVICE_STATE_STOP,
  VFIO_DEVICE_STATE_STOP_COPY,
} from "../../src/uapi/mod.ts";
import {
  VFIO_USER_DEVICE_FEATURE,
  VFIO_USER_DEVICE_RESET,
  VFIO_USER_MIG_DATA_READ,
} from "../../src/vfio_user/wire/commands.ts";
import { joined } from "../_joined.ts";
import { dataRead, GET_STATE, setState } from "./_requests.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const NOTHING: Bytes = new Uint8Array(0);
const CHUNK = 100_000;

/** A data fd that gives the bytes 0, 1, 2, …; what it answers can be set for each read. */
class CountingFd {
  /** How many bytes each read was asked for. */
  readonly asked: number[] = [];
  /** What the next reads do: give so many bytes at most, or fail with an errno. */
  readonly answers: (number | keyof typeof ERRNO)[] = [];
  #next = 0;

  /** The data of a device that has entered a state. */
  in(state: number, readsAhead = true): MigrationData {
    const kernel = {
      read: (_fd: number, into: Bytes): number => this.#read(into),
      close: (): void => {},
    };
    const data = new MigrationData(kernel as unknown as Kernel, readsAhead);
    data.entered(state, 7);
    return data;
  }

  #read(into: Bytes): number {
    this.asked.push(into.length);
    const answer = this.answers.shift() ?? into.length;
    if (typeof answer === "string") throw new SysError("read", ERRNO[answer]);
    const count = Math.min(answer, into.length);
    for (let at = 0; at < count; at++) into[at] = this.#next++;
    return count;
  }
}

const STOP_COPY = VFIO_DEVICE_STATE_STOP_COPY;

describe("the data of a device in STOP_COPY", () => {
  it("is read one read ahead, and given in the sizes that are asked for", () => {
    const fd = new CountingFd();
    const data = fd.in(STOP_COPY);
    data.readAhead();
    assert.deepEqual([...data.read(4)], [0, 1, 2, 3]);
    data.readAhead();
    data.readAhead();
    assert.deepEqual(fd.asked, [4, 4]);
    assert.deepEqual([...data.read(3)], [4, 5, 6]);
    data.readAhead();
    // There is no other read behind the rest.
    assert.deepEqual([...data.read(3)], [7]);
    data.readAhead();
    assert.deepEqual(fd.asked, [4, 4]);
    assert.deepEqual([...data.read(2)], [8, 9]);
    data.readAhead();
    assert.deepEqual([...data.readAll(5)], [10, 11, 12, 13, 14]);
    assert.deepEqual(fd.asked, [4, 4, 2, 2, 3]);
  });

  it("is not read ahead behind a read that came short, or where that is not wanted", () => {
    const fd = new CountingFd();
    fd.answers.push(3);
    const data = fd.in(STOP_COPY);
    assert.equal(data.read(4).length, 3);
    data.readAhead();
    assert.deepEqual(fd.asked, [4]);
    const other = fd.in(STOP_COPY, false);
    assert.equal(other.read(4).length, 4);
    other.readAhead();
    assert.deepEqual(fd.asked, [4, 4]);
  });

  it("is asked for again after a read ahead that found none", () => {
    const fd = new CountingFd();
    fd.answers.push(4, 0, 4);
    const data = fd.in(STOP_COPY);
    data.read(4);
    data.readAhead();
    assert.deepEqual([...data.read(4)], [4, 5, 6, 7]);
  });

  it("fails at the read for which it was read ahead, and once", () => {
    const fd = new CountingFd();
    fd.answers.push(4, "EIO");
    const data = fd.in(STOP_COPY);
    data.read(4);
    data.readAhead();
    data.isIn(STOP_COPY);
    assert.throws(() => data.read(4), (error) => isErrno(error, "EIO"));
    assert.deepEqual([...data.read(4)], [4, 5, 6, 7]);
  });

  it("is the device's for as long as it stays in that state", () => {
    const leave: ((data: MigrationData) => void)[] = [
      (data) => data.isIn(VFIO_DEVICE_STATE_RUNNING),
      (data) => data.dropAhead(),
      (data) => data.entered(STOP_COPY, 8),
    ];
    for (const left of leave) {
      const fd = new CountingFd();
      const data = fd.in(STOP_COPY);
      data.read(4);
      data.readAhead();
      left(data);
      assert.deepEqual([...data.read(4)], [8, 9, 10, 11]);
    }
    const data = new CountingFd().in(STOP_COPY);
    data.read(4);
    data.readAhead();
    data.entered(STOP_COPY, -1);
    assert.deepEqual([...data.read(4)], [4, 5, 6, 7]);
    data.readAhead();
    data.entered(VFIO_DEVICE_STATE_STOP, -1);
    assert.throws(() => data.read(4), (error) => isErrno(error, "EINVAL"));
  });

  it("is not read ahead in pre-copy, nor by the transition from there", () => {
    const fd = new CountingFd();
    const data = fd.in(VFIO_DEVICE_STATE_PRE_COPY);
    data.read(4);
    data.readAhead();
    data.entered(STOP_COPY, -1);
    data.readAhead();
    assert.deepEqual(fd.asked, [4]);
  });
});

/** A client's session, without a socket. */
class Client implements Disposable {
  readonly #source: DeviceSource;
  readonly #session: Session;

  constructor(name: string, trace?: Trace) {
    this.#source = new DeviceSource(name, false, trace);
    this.#session = new Session({
      device: this.#source.take(),
      own: libcKernel(),
      messages: { most: 0, read: () => {}, write: () => {} },
      extended: true,
      mostData: 1 << 20,
    });
  }

  /** The reply to a request, or the errno; then the server has time. */
  ask(command: number, payload: Bytes): Bytes | number {
    try {
      return joined(...this.#session.handle({ command, payload, fds: [] }));
    } catch (error) {
      const errno = errnoOfRefusal(error);
      if (errno === null) throw error;
      return errno;
    } finally {
      this.#session.readAhead();
    }
  }

  /** The data that a read of a chunk gives, or the errno. */
  read(size = CHUNK): Bytes | number {
    const reply = this.ask(VFIO_USER_MIG_DATA_READ, dataRead(size));
    return typeof reply === "number" ? reply : reply.subarray(8);
  }

  enter(state: number): void {
    assert.ok(this.ask(VFIO_USER_DEVICE_FEATURE, setState(state)) instanceof Uint8Array);
  }

  [Symbol.dispose](): void {
    this.#session.close();
    this.#source.release();
  }
}

/** A few requests, one of them between two reads. */
function readInBetween(client: Client): void {
  client.enter(STOP_COPY);
  client.read();
  client.ask(VFIO_USER_DEVICE_FEATURE, GET_STATE);
  client.read();
  client.enter(VFIO_DEVICE_STATE_STOP);
}

describe("a session that reads ahead", () => {
  it("leaves what it read to the state that it was read in", () => {
    using client = new Client("sim:mlx5?size=1MiB");
    client.enter(STOP_COPY);
    const first = client.read();
    client.enter(VFIO_DEVICE_STATE_STOP);
    assert.equal(client.read(), ERRNO.EINVAL);
    client.enter(STOP_COPY);
    assert.deepEqual(client.read(), first);
    client.ask(VFIO_USER_DEVICE_RESET, NOTHING);
    assert.equal(client.read(), ERRNO.ENODEV);
  });

  it("meets the device's errors one read early, and reports them with their read", () => {
    using client = new Client("sim:mlx5?size=1MiB&fault=read:2:EIO&fault=read:4:EIO");
    client.enter(STOP_COPY);
    const first = client.read();
    assert.ok(client.ask(VFIO_USER_DEVICE_FEATURE, GET_STATE) instanceof Uint8Array);
    assert.equal(client.read(), ERRNO.EIO);
    assert.ok(client.read() instanceof Uint8Array);
    // The fourth read failed already, and nobody asked for its data.
    client.enter(VFIO_DEVICE_STATE_STOP);
    client.enter(STOP_COPY);
    assert.deepEqual(client.read(), first);
  });

  it("gives up what it read if a change of state fails, and the device is in another one", () => {
    for (const fault of ["error-state:4", "error-state:4&fault=state-read:1:EIO"]) {
      using client = new Client(`sim:mlx5?size=1MiB&fault=${fault}`);
      client.enter(STOP_COPY);
      assert.equal((client.read() as Bytes).length, CHUNK);
      const refused = client.ask(VFIO_USER_DEVICE_FEATURE, setState(VFIO_DEVICE_STATE_STOP));
      assert.equal(refused, ERRNO.EIO);
      assert.equal(client.read(8), ERRNO.ENODEV);
    }
  });

  it("keeps what it read if a change of state fails, and the device stays in STOP_COPY", () => {
    using client = new Client("sim:mlx5?size=1MiB&fault=transition:4:EIO");
    using other = new Client("sim:mlx5?size=1MiB");
    for (const each of [client, other]) {
      each.enter(STOP_COPY);
      each.read();
    }
    const refused = client.ask(VFIO_USER_DEVICE_FEATURE, setState(VFIO_DEVICE_STATE_STOP));
    assert.equal(refused, ERRNO.EIO);
    assert.deepEqual(client.read(), other.read());
    const unknown = client.ask(VFIO_USER_DEVICE_FEATURE, setState(99));
    assert.equal(unknown, ERRNO.EINVAL);
    assert.deepEqual(client.read(), other.read());
  });

  it("makes no call that a trace would have, and a replay would not take", () => {
    const folder = fs.mkdtempSync("/tmp/vfiokit-ahead-");
    try {
      const path = `${folder}/trace`;
      {
        using trace = Trace.create(path);
        using client = new Client("sim:mlx5?size=1MiB", trace);
        readInBetween(client);
      }
      using recorded = readTrace(path);
      const reads = [...recorded.lines()].filter((line) => "call" in line && line.call === "read");
      assert.equal(reads.length, 2);
      using client = new Client(`replay:${path}`);
      readInBetween(client);
    } finally {
      fs.rmSync(folder, { recursive: true });
    }
  });
});
