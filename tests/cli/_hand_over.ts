/**
 * A program that was lent a device, for tests of handing its data fd over:
 * `put FILE` opens a file and puts it where a data fd goes; `take` prints what
 * the one that it takes has.
 */

import process from "node:process";
import { lentDataFdSockets } from "../../cli/lending/lent_devices.ts";
import { Fd } from "../../src/kernel/fd.ts";
import { O_RDONLY } from "../../src/kernel/kernel.ts";
import { libcKernel } from "../../src/kernel/libc/libc_kernel.ts";
import { DataFdHandover } from "../../src/migration/v2/data_fd_handover.ts";

const [what, file = ""] = process.argv.slice(2);
const kernel = libcKernel();
const fds = lentDataFdSockets("fd:3");
if (fds === undefined) throw new Error("nobody lent a place");
const place = new DataFdHandover(kernel, fds);
if (what === "put") {
  using fd = Fd.own(kernel, kernel.open(file, O_RDONLY), file);
  place.put(fd);
} else {
  using fd = place.take("what was put there");
  const bytes = new Uint8Array(new ArrayBuffer(64));
  const text = fd === null
    ? "nothing"
    : new TextDecoder().decode(bytes.subarray(0, kernel.read(fd.number, bytes)));
  console.log(text);
}
