import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { describe, it } from "node:test";
import { libcKernel } from "../../src/kernel/mod.ts";
import { fdOfProcess } from "../../src/kernel/process/fd_of_process.ts";
import { SysError } from "../../src/kernel/sys_error.ts";
import { ProcessDevice, ProcessDeviceError } from "../../src/vmm/process_device.ts";

/** A process that has a file open as its fd 5, until it is let go. */
async function withHolder(use: (pid: number) => void): Promise<void> {
  const folder = fs.mkdtempSync(`${tmpdir()}/vfiokit-`);
  fs.writeFileSync(`${folder}/a`, "held");
  const child = spawn("sh", ["-c", `exec 5< ${folder}/a; echo ready; read line`], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  try {
    await new Promise((resolve, reject) => {
      child.stdout.once("data", resolve);
      child.once("error", reject);
    });
    use(child.pid!);
  } finally {
    const gone = new Promise((resolve) => child.once("close", resolve));
    child.stdin.end();
    await gone;
    fs.rmSync(folder, { recursive: true });
  }
}

function codeOf(use: () => unknown): string {
  try {
    use();
  } catch (error) {
    assert.ok(error instanceof ProcessDeviceError || error instanceof SysError, String(error));
    return error.code ?? "";
  }
  return "none";
}

describe("an fd of another process", () => {
  it("is the same open file here, and stays its own there", async () => {
    await withHolder((pid) => {
      const kernel = libcKernel();
      const fd = fdOfProcess(pid, 5);
      const bytes = new Uint8Array(10);
      assert.equal(kernel.pread(fd, bytes, 0), 4);
      assert.equal(new TextDecoder().decode(bytes.slice(0, 4)), "held");
      kernel.close(fd);
      assert.match(kernel.readLink(`/proc/${pid}/fd/5`), /\/a$/);
    });
  });

  it("is an error if the process does not have it, or is gone", async () => {
    let last = 0;
    await withHolder((pid) => {
      assert.equal(codeOf(() => fdOfProcess(pid, 999)), "EBADF");
      last = pid;
    });
    assert.equal(codeOf(() => fdOfProcess(last, 5)), "ESRCH");
  });
});

describe("a device of another process", () => {
  it("is only a VFIO device", async () => {
    let last = 0;
    await withHolder((pid) => {
      assert.equal(codeOf(() => ProcessDevice.take(`pid:${pid}`)), "no-device");
      assert.equal(codeOf(() => ProcessDevice.take(`pid:${pid}/5`)), "no-device");
      last = pid;
    });
    assert.equal(codeOf(() => ProcessDevice.take(`pid:${last}`)), "no-such-process");
  });

  it("is named by a pid, and an fd", () => {
    for (const name of ["pid:", "pid:x", "pid:1/", "pid:1/2/3", "pid:-1", "1"]) {
      assert.equal(codeOf(() => ProcessDevice.take(name)), "bad-name", name);
    }
  });
});
