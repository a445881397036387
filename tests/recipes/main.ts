/**
 * Runs the recipes of docs/recipes.md with the real tools. Debian's restic and rclone are fetched
 * into the lab's cache if they are not here; what else is missing is named.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { delimiter, join } from "node:path";
import process from "node:process";
import { projectFile } from "../cli/_cli.ts";
import { Apt, HOST_SUITE } from "../lab/apt.ts";
import { cacheFolder, which } from "../lab/host.ts";

/** Programs that run as they are, out of their package. */
const FETCHED = ["restic", "rclone"];

/** Programs that must be installed, and their packages. */
const INSTALLED: Readonly<Record<string, string>> = {
  "ansible-playbook": "ansible-core",
  podman: "podman",
  runc: "runc",
  sshd: "openssh-server",
  "systemd-analyze": "systemd",
  python3: "python3",
};

const folder = join(cacheFolder(), `recipes-${HOST_SUITE}`);
const wanted = FETCHED.filter((program) =>
  which(program) === null && !existsSync(join(folder, "usr/bin", program))
);
if (wanted.length > 0) {
  mkdirSync(cacheFolder(), { recursive: true });
  const scratch = mkdtempSync(join(cacheFolder(), "apt-"));
  try {
    new Apt(scratch, HOST_SUITE).extract(wanted, folder);
  } finally {
    rmSync(scratch, { recursive: true });
  }
}
const missing = Object.keys(INSTALLED).filter((program) => which(program) === null);
if (missing.length > 0) {
  const packages = missing.map((program) => INSTALLED[program]);
  console.error(
    `recipes: not here: ${missing.join(", ")} (Debian: apt-get install ${packages.join(" ")})`,
  );
}
const { status } = spawnSync(
  process.execPath,
  [
    "test",
    "-A",
    "--no-prompt",
    ...["recipes_test.ts", "restic_chain_test.ts"].map((name) =>
      projectFile(`tests/recipes/${name}`)
    ),
  ],
  {
    stdio: "inherit",
    env: {
      ...process.env,
      PATH: `${process.env["PATH"]}${delimiter}${join(folder, "usr/bin")}`,
    },
  },
);
process.exit(status ?? 1);
