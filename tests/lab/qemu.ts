/**
 * QEMU: found or fetched, and run until the guest is done.
 *
 * @module
 */

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Apt, HOST_SUITE } from "./apt.ts";
import { cached, MissingError, runText, which } from "./host.ts";

/** How to start QEMU. */
export interface Qemu {
  /** The program. */
  readonly command: string;
  /** Arguments that it needs to find its own files. */
  readonly args: readonly string[];
  /** Variables that it needs to find its own libraries. */
  readonly env: Readonly<Record<string, string>>;
}

const PROGRAM = "qemu-system-x86_64";
const LIBRARIES = "usr/lib/x86_64-linux-gnu";

function fetched(root: string): Qemu {
  const libraries = [LIBRARIES, "lib/x86_64-linux-gnu"].map((path) => join(root, path));
  return {
    command: join(root, "usr/bin", PROGRAM),
    args: ["-L", join(root, "usr/share/qemu"), "-L", join(root, "usr/share/seabios")],
    env: {
      LD_LIBRARY_PATH: libraries.join(":"),
      QEMU_MODULE_DIR: join(root, LIBRARIES, "qemu"),
    },
  };
}

function fetchQemu(apt: Apt, root: string): void {
  apt.extractWithDependencies("qemu-system-x86", root, "missing");
  const { command, env } = fetched(root);
  if (!existsSync(command)) {
    throw new MissingError(
      `Cannot find "${PROGRAM}" in PATH, although its package qemu-system-x86 is installed`,
    );
  }
  runText(command, ["--version"], { env });
}

/** The QEMU of this machine, or one fetched into the cache: it is never installed. */
export function qemu(cache: string, apt: (suite: string) => Apt): Qemu {
  const installed = which(PROGRAM);
  if (installed !== null) return { command: installed, args: [], env: {} };
  return fetched(cached(join(cache, "qemu"), (folder) => fetchQemu(apt(HOST_SUITE), folder)));
}

/** The suite whose QEMU has the client of vfio-user: it came with 11.1. */
const NEWEST_SUITE = "sid";

/**
 * A QEMU with the client of vfio-user, fetched into the cache with all that it depends on: its own
 * loader runs it with its own libraries, which may be newer than this machine's.
 */
export function newestQemu(cache: string, apt: (suite: string) => Apt): Qemu {
  const root = cached(
    join(cache, "qemu-vfio-user"),
    (folder) => apt(NEWEST_SUITE).extractWithDependencies("qemu-system-x86", folder, "all"),
  );
  const { command, args, env } = fetched(root);
  return {
    command: join(root, LIBRARIES, "ld-linux-x86-64.so.2"),
    args: ["--library-path", env["LD_LIBRARY_PATH"]!, command, ...args],
    env: { QEMU_MODULE_DIR: env["QEMU_MODULE_DIR"]! },
  };
}

/** A folder of the host that the guest sees by 9p. */
export interface Share {
  /** The tag to mount. */
  readonly tag: string;
  /** The folder. */
  readonly path: string;
  /** Whether the guest may write to it. */
  readonly writable: boolean;
}

/** A network of two guests: each QEMU sends what its guest sends to the other's socket. */
export interface Network {
  /** This guest's number: 1 or 2. */
  readonly guest: number;
  /** The path of this guest's socket. */
  readonly own: string;
  /** The path of the other's. */
  readonly other: string;
}

/** What to boot. */
export interface Machine {
  /** The uncompressed kernel. */
  readonly vmlinux: string;
  /** The first root file system. */
  readonly initramfs: string;
  /** More words for the kernel's command line. */
  readonly append: readonly string[];
  /** Folders of the host. */
  readonly shares: readonly Share[];
  /** The network card to the other guest; null for none. */
  readonly network: Network | null;
  /** The socket of a vfio-user server whose device the guest gets; null for none. */
  readonly served: string | null;
  /** Where the kernel's console goes. */
  readonly consoleFile: string;
  /** Seconds after which the guest is killed. */
  readonly timeout: number;
}

/**
 * Plain moves and table look-ups suit the emulator: without erms and fsrm the
 * guest copies three times as fast, without pclmulqdq it computes CRCs five
 * times as fast. The other features only make its boot longer.
 */
const CPU = [
  ...["max", "erms", "fsrm", "pclmulqdq"],
  ...["avx", "avx2", "xsave", "smap", "smep", "pku", "la57"],
].join(",-");

/** The guest's memory. */
const MEMORY = "3072M";

const APPEND: readonly string[] = [
  ...["console=ttyS0", "quiet", "panic=-1", "oops=panic", "mitigations=off", "nokaslr"],
  // The emulated TSC is as good as any; without this every look at the clock leaves the guest.
  ...["random.trust_cpu=on", "tsc=reliable", "clocksource=tsc"],
  "intel_iommu=on",
  // On a busy host the kernel takes the emulated timer for a broken one, and panics.
  "no_timer_check",
];

/** A device outside QEMU must hear of each mapping when it is made, not only when it is used. */
function cachingMode({ served }: Machine): string {
  return served === null ? "" : ",caching-mode=on";
}

function machineArgs(machine: Machine): string[] {
  const args = [
    ...["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", CPU, "-smp", "2"],
    ...["-m", MEMORY],
    ...["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
    ...["-kernel", machine.vmlinux, "-initrd", machine.initramfs],
    ...["-append", [...APPEND, ...machine.append].join(" ")],
    // An IOMMU, which must come first, and PCI devices behind it: one alone, and two functions of
    // one slot, which the kernel puts into one group.
    ...["-device", `intel-iommu,aw-bits=48${cachingMode(machine)}`, "-device", "edu,addr=0xf"],
    ...["-device", "edu,addr=0x10,multifunction=on", "-device", "edu,addr=0x10.1"],
    // A device with a virtual function, behind a port of its own.
    ...[
      "-device",
      "pcie-root-port,id=vfs,chassis=1,addr=0x11",
      "-device",
      "nvme-subsys,id=vf-subsystem",
    ],
    ...[
      "-device",
      "nvme,bus=vfs,subsys=vf-subsystem,serial=vf,sriov_max_vfs=1,sriov_vq_flexible=2,sriov_vi_flexible=1",
    ],
    // The kernel's console, and the guest's own output.
    ...["-serial", `file:${machine.consoleFile}`, "-serial", "stdio"],
  ];
  if (machine.network !== null) {
    const { guest, own, other } = machine.network;
    // Datagrams: neither has to be there before the other.
    args.push(
      "-netdev",
      `dgram,id=peer,local.type=unix,local.path=${own},remote.type=unix,remote.path=${other}`,
    );
    args.push("-device", `virtio-net-pci,netdev=peer,mac=52:54:00:00:00:0${guest},romfile=`);
  }
  if (machine.served !== null) {
    // The server reaches the guest's memory by its fd.
    args.push("-object", `memory-backend-memfd,id=ram,size=${MEMORY},share=on`);
    args.push("-machine", "memory-backend=ram");
    const socket = { type: "unix", path: machine.served };
    args.push("-device", JSON.stringify({ driver: "vfio-user-pci", socket, addr: "12.0" }));
  }
  for (const { tag, path, writable } of machine.shares) {
    const options = `security_model=none,multidevs=remap${writable ? "" : ",readonly=on"}`;
    args.push("-virtfs", `local,path=${path},mount_tag=${tag},id=${tag},${options}`);
  }
  return args;
}

/** How a guest ended. */
export interface GuestEnd {
  /** Whether the time ran out. */
  readonly timedOut: boolean;
  /** What QEMU itself complained of. */
  readonly complaint: string;
}

/** Boots a guest and waits until it is gone; its own output goes to `output`. */
export function boot(
  qemu: Qemu,
  machine: Machine,
  output: (bytes: Uint8Array) => void,
): Promise<GuestEnd> {
  return new Promise((resolve, reject) => {
    const child = spawn(qemu.command, [...qemu.args, ...machineArgs(machine)], {
      env: { ...process.env, ...qemu.env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let timedOut = false;
    let complaint = "";
    const kill = (): void => void child.kill("SIGKILL");
    const timer = setTimeout(() => {
      timedOut = true;
      kill();
    }, machine.timeout * 1000);
    process.once("exit", kill);
    child.stdout.on("data", output);
    child.stderr.on("data", (bytes) => complaint += bytes);
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(timer);
      process.off("exit", kill);
      if (code !== 0 && !timedOut) complaint += `\nQEMU ended with exit code ${code}`;
      resolve({ timedOut, complaint: complaint.trim() });
    });
  });
}
