/**
 * Everything up to the boot: what is fetched, what is built. What the cache has
 * is neither.
 *
 * @module
 */

import { mkdirSync, mkdtempSync } from "node:fs";
import { join } from "node:path";
import { Apt } from "./apt.ts";
import { buildClient, buildDriver } from "./build.ts";
import { cacheFolder } from "./host.ts";
import { guestQemu } from "./guest_qemu.ts";
import { writeInitramfs } from "./initramfs.ts";
import { kernel, type KernelRelease } from "./kernel.ts";
import { newestQemu, type Qemu, qemu } from "./qemu.ts";
import { buildSampleDevice } from "./sample_device.ts";
import { guestModules, libraries, type Runtimes, runtimes } from "./runtimes.ts";

/** What the guest has of the project, at the same path as here. */
const GUEST_FILES: readonly string[] = [
  ...["cli", "src", "mod.ts", "tests/lab/guest"],
  ...["tests/dirty/type1_answers.ts", "tests/dirty/_answers.ts", "tests/dirty/type1_cases"],
  ...["tests/vfio/cdev_answers.ts", "tests/vfio/cdev_cases", "tests/vfio/hwpt_cases"],
  ...["tests/migration/v2_cases"],
  ...["tests/migration/_arcs.ts", "tests/sim/bugs", "tests/sim/_client.ts", "tests/sim/_type1.ts"],
  ...["tests/sim/_device_client.ts", "tests/sim/_v2_client.ts", "tests/_virtual_clock.ts"],
  ...["tests/check/_bug_checks.ts", "fixtures/guest-driver/bug.h"],
  "tests/server/_eventfd.ts",
  ...["deno.json", "deno.lock", "package.json", "node_modules"],
];

/** What a guest is booted from. */
export interface Prepared {
  /** The emulator. */
  readonly qemu: Qemu;
  /** The uncompressed kernel. */
  readonly vmlinux: string;
  /** The first root file system, made for this run. */
  readonly initramfs: string;
  /** The folder of the C programs. */
  readonly client: string;
  /** The folder of the guest's own QEMUs. */
  readonly guestQemu: string;
  /** Deno and Bun. */
  readonly programs: Runtimes;
}

/**
 * Makes everything ready; what belongs to this run alone goes into `folder`.
 *
 * @param serve Whether the emulator must have the client of vfio-user.
 */
export function prepare(
  project: string,
  release: KernelRelease,
  folder: string,
  serve: boolean,
  say: (text: string) => void,
): Prepared {
  const cache = cacheFolder();
  mkdirSync(cache, { recursive: true });
  const apt = (suite: string): Apt => {
    say(`fetching packages of Debian's ${suite} into ${cache}`);
    return new Apt(mkdtempSync(join(folder, "apt-")), suite);
  };
  const emulator = serve ? newestQemu(cache, apt) : qemu(cache, apt);
  const linux = kernel(cache, release, apt, say);
  const driver = buildDriver(cache, join(project, "fixtures/guest-driver"), linux.headers);
  const sample = release.sample
    ? [buildSampleDevice(cache, linux.headers, () => apt(release.suite))]
    : [];
  const client = buildClient(cache, join(project, "fixtures/guest-client"));
  const programs = runtimes(cache);
  const denoDir = guestModules(programs, project);
  const initramfs = join(folder, "initramfs");
  writeInitramfs(initramfs, {
    busybox: linux.busybox,
    init: join(project, "tests/lab/guest/init"),
    modules: [...linux.modules, driver, ...sample],
    libraries: libraries([programs.deno, programs.bun]),
    // In the guest's memory: reading hundreds of small files by 9p takes seconds each time.
    trees: [
      ...GUEST_FILES.map((path) => [join(project, path), join(project, path)] as const),
      ["/deno-dir", denoDir],
    ],
  });
  return {
    qemu: emulator,
    vmlinux: linux.vmlinux,
    initramfs,
    client,
    guestQemu: guestQemu(cache, apt),
    programs,
  };
}
