/**
 * QEMU in the guest, with the guest's VFIO devices in its own machine.
 *
 * @module
 */

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { createInterface } from "node:readline";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";

/** Where the host's folder of QEMUs is: see tests/lab/guest_qemu.ts. */
const ROOT = "/vmm";

/** QEMU 7.2, the last that speaks v1, and QEMU 10, which speaks v2. */
export type QemuSuite = "bookworm" | "trixie";

function programWords(suite: QemuSuite): string[] {
  const root = `${ROOT}/${suite}`;
  const libraries = ["usr/lib", "lib"].map((folder) => `${root}/${folder}/x86_64-linux-gnu`);
  const loader = libraries.map((folder) => `${folder}/ld-linux-x86-64.so.2`).find(existsSync);
  assert.ok(loader, `${root} has no loader`);
  return [
    ...[loader, "--library-path", libraries.join(":"), `${root}/usr/bin/qemu-system-x86_64`],
    ...["-L", `${root}/usr/share/qemu`, "-L", `${root}/usr/share/seabios`],
  ];
}

/**
 * A firmware that halts the processor (cli; hlt; jmp to hlt): a machine that runs, and takes no time
 * of the guest's.
 */
function haltingFirmware(): Uint8Array {
  const rom = new Uint8Array(64 << 10);
  rom.set([0xfa, 0xf4, 0xeb, 0xfd], rom.length - 16);
  return rom;
}

/** How to start QEMU. */
export interface QemuOptions {
  /** Which one. */
  readonly suite: QemuSuite;
  /** The paths in sysfs of its VFIO devices. */
  readonly devices: readonly string[];
  /** A folder for its sockets. */
  readonly folder: string;
  /** MiB of its memory; 32 by default. */
  readonly memory?: number;
  /** Whether it waits for a migration stream. */
  readonly incoming?: boolean;
}

/** A connection; null if nobody listens yet, though the file is there. */
function connected(path: string): Promise<Socket | null> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => resolve(socket));
    socket.once("error", () => resolve(null));
  });
}

/** A QEMU that runs, and its monitor. */
export class Qemu implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #socket: Socket;
  readonly #lines: AsyncIterator<string>;
  /** The socket that another program can speak QMP over. */
  readonly qmp: string;
  /** What it said on stderr. */
  complaint = "";

  /** Parameters of its migrations. */
  readonly #limits: Readonly<Record<string, number>>;

  private constructor(child: ChildProcess, socket: Socket, qmp: string, suite: string) {
    // A kernel without MIG_DATA_SIZE, as 6.1: QEMU then expects 100 GiB of the device, and ends
    // only if its bandwidth could move them in the downtime. QEMU 7.2 cannot be told.
    const bandwidth = suite === "bookworm" ? {} : { "avail-switchover-bandwidth": 1 << 30 };
    this.#limits = { "downtime-limit": 2_000_000, ...bandwidth };
    this.#child = child;
    this.#socket = socket;
    this.#lines = createInterface({ input: socket })[Symbol.asyncIterator]();
    this.qmp = qmp;
    child.stderr!.on("data", (text) => this.complaint += text);
  }

  /** Starts it and waits for its monitor. */
  static async start(options: QemuOptions): Promise<Qemu> {
    const { suite, devices, folder, memory = 32, incoming = false } = options;
    const name = Math.random().toString(36).slice(2, 8);
    const [own, qmp] = [`${folder}/${name}-own`, `${folder}/${name}-qmp`];
    writeFileSync(`${folder}/firmware`, haltingFirmware());
    const migration = suite === "bookworm" ? "x-enable-migration=on" : "enable-migration=on";
    // Without iommufd the kernel answers EOPNOTSUPP to QEMU's reports of the device's log.
    const untracked = suite === "bookworm" ? "" : ",x-device-dirty-page-tracking=off";
    const [program, ...args] = [
      ...programWords(suite),
      ...["-machine", "q35", "-accel", "tcg", "-m", String(memory), "-nodefaults"],
      ...["-display", "none", "-no-user-config", "-bios", `${folder}/firmware`],
      ...["-qmp", `unix:${own},server=on,wait=off`, "-qmp", `unix:${qmp},server=on,wait=off`],
      ...devices.flatMap((path, index) => [
        "-device",
        `vfio-pci,sysfsdev=${path},id=vfio${index},addr=0x${index + 5},${migration}${untracked}`,
      ]),
      ...(incoming ? ["-incoming", "defer"] : []),
    ];
    const child = spawn(program!, args, {
      stdio: ["ignore", "ignore", "pipe"],
      // Bookworm's emulation of a processor is a module.
      env: { ...process.env, QEMU_MODULE_DIR: `${ROOT}/${suite}/usr/lib/x86_64-linux-gnu/qemu` },
    });
    let complaint = "";
    child.stderr!.on("data", (text) => complaint += text);
    for (let tries = 0; tries < 6000 && child.exitCode === null; tries++) {
      const socket = existsSync(qmp) ? await connected(own) : null;
      if (socket !== null) {
        const qemu = new Qemu(child, socket, qmp, suite);
        try {
          assert.match(await qemu.#line(), /"QMP"/);
          await qemu.execute("qmp_capabilities");
        } catch (error) {
          // The guest's device cannot be taken away while QEMU has it.
          await qemu[Symbol.asyncDispose]();
          throw error;
        }
        return qemu;
      }
      await sleep(50);
    }
    child.kill("SIGKILL");
    throw new Error(`QEMU does not start: ${complaint}`);
  }

  /** Its pid. */
  get pid(): number {
    return this.#child.pid!;
  }

  async #line(): Promise<string> {
    const { done, value } = await this.#lines.next();
    if (done) throw new Error(`QEMU has closed its monitor: ${this.complaint}`);
    return value;
  }

  /** Executes a command, and gives its answer. */
  async execute<T>(command: string, args: Readonly<Record<string, unknown>> = {}): Promise<T> {
    this.#socket.write(`${JSON.stringify({ execute: command, arguments: args })}\n`);
    for (;;) {
      const answer = JSON.parse(await this.#line());
      if ("return" in answer) return answer.return;
      if ("error" in answer) throw new Error(`${command}: ${JSON.stringify(answer.error)}`);
    }
  }

  /** Its run state: `running`, `paused`, … */
  async status(): Promise<string> {
    return (await this.execute<{ status: string }>("query-status")).status;
  }

  /** Migrates to a file, and waits for the end. */
  async migrateTo(file: string): Promise<void> {
    // However slow the emulator is, what is left to copy is never too much for the last step.
    await this.execute("migrate-set-parameters", this.#limits);
    await this.execute("migrate", { uri: `exec:cat > ${file}` });
    await this.#migrated();
  }

  /** Takes a migration from a file; QEMU was started to wait for it. */
  async migrateFrom(file: string): Promise<void> {
    await this.execute("migrate-incoming", { uri: `exec:cat ${file}` });
    await this.#migrated();
  }

  async #migrated(): Promise<void> {
    for (let tries = 0; tries < 6000; tries++) {
      const info = await this.execute<{ status?: string }>("query-migrate");
      if (info.status === "completed") return;
      if (info.status === "failed") {
        throw new Error(`Migration failed: ${JSON.stringify(info)} ${this.complaint}`);
      }
      await sleep(50);
    }
    throw new Error("Migration does not end");
  }

  /** Ends it, and waits until it is gone. */
  async [Symbol.asyncDispose](): Promise<void> {
    const gone = new Promise((resolve) => this.#child.once("close", resolve));
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill("SIGTERM");
      const killer = setTimeout(() => this.#child.kill("SIGKILL"), 10_000);
      await gone;
      clearTimeout(killer);
    }
    this.#socket.destroy();
  }
}
