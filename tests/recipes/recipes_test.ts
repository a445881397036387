// Every recipe of docs/recipes.md, run as it stands, on simulated devices, with the real tools.
// A tool that is not here is named as the reason of the skip; `deno task recipes` fetches some.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { describe, it } from "node:test";
import { IN_DENO, projectFile, vfiokit } from "../cli/_cli.ts";
import { which } from "../lab/host.ts";
import { readRecipes, type Recipe } from "./_recipe.ts";
import { ShellFolder } from "./_shell_folder.ts";

const RECIPES = readRecipes();
const DEVICE = "sim:mapped?size=256KiB";

/** The folder of a recipe, and what is done in it. */
class RecipeFolder extends ShellFolder {
  readonly dir = join(this.folder, "checkpoints");
  readonly recipe: Recipe;
  readonly #ends: (() => void)[] = [];

  constructor(number: number) {
    const recipe = RECIPES.get(number)!;
    super(recipe.files);
    this.recipe = recipe;
    Object.assign(this.env, { DEVICE, DIR: this.dir });
    fs.mkdirSync(this.dir);
  }

  /** Runs the recipe's blocks of commands in one shell; returns what was printed. */
  run(): string {
    return this.shell(this.recipe.commands.join("\n"));
  }

  /** Starts a server, and ends it with the recipe; waits until its port is taken. */
  async serve(port: number, program: string, args: readonly string[]): Promise<void> {
    const server = spawn(program, args, {
      env: { ...process.env, ...this.env },
      stdio: ["ignore", "ignore", "pipe"],
      // A group of its own: npx starts a shell, which starts the server.
      detached: true,
    });
    let err = "";
    server.stderr.on("data", (data) => err += data);
    this.#ends.push(() => process.kill(-server.pid!, "SIGKILL"));
    for (let tries = 0; await isFree(port); tries++) {
      assert.ok(server.exitCode === null && tries < 600, `${program} does not listen: ${err}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /** The checkpoints in the folder. */
  get checkpoints(): string[] {
    return fs.readdirSync(this.dir).filter((name) => name.endsWith(".vfk"));
  }

  override [Symbol.dispose](): void {
    for (const end of this.#ends) end();
    super[Symbol.dispose]();
  }
}

/** Whether nobody listens on a port of the loopback. */
function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

/** A port that was free a moment ago. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { readonly port: number };
      server.close(() => resolve(port));
    });
  });
}

/** Why a recipe cannot run here; false if it can. */
function lacks(...programs: readonly string[]): string | false {
  const missing = programs.find((program) => which(program) === null);
  return missing === undefined ? false : `there is no ${missing} here`;
}

async function verifies(file: string): Promise<void> {
  const { code, err } = await vfiokit(["verify", file]);
  assert.equal(code, 0, err);
}

describe("recipes", () => {
  it("are ten, each with something that is run", () => {
    assert.deepEqual([...RECIPES.keys()], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    for (const { title, files, commands } of RECIPES.values()) {
      assert.ok(files.size + commands.length > 0, title);
    }
  });

  it("1: a checkpoint every hour", async () => {
    using work = new RecipeFolder(1);
    // Two hours pass, each in a second, so that the names differ.
    work.program("sleep", 'echo >> hours; [ "$(wc -l < hours)" -le 2 ] && exec /bin/sleep 1.1');
    work.run();
    assert.equal(work.checkpoints.length, 2);
    for (const name of work.checkpoints) await verifies(join(work.dir, name));
  });

  it("2: copies in S3-like storage", { skip: lacks("rclone", "npx") }, async () => {
    using work = new RecipeFolder(2);
    const port = await freePort();
    const store = join(work.folder, "store");
    const where = `--directory ${store} --address 127.0.0.1 --port ${port}`;
    // Debian's rclone is built without the S3 server that it has elsewhere.
    await work.serve(port, "npx", [
      ..."--yes s3rver@3.7.1 --configure-bucket checkpoints".split(" "),
      ...where.split(" "),
    ]);
    Object.assign(work.env, {
      REMOTE: "lab:checkpoints",
      AWS_CA_BUNDLE: "",
      RCLONE_CONFIG: "/dev/null",
      RCLONE_CONFIG_LAB_TYPE: "s3",
      RCLONE_CONFIG_LAB_PROVIDER: "Other",
      RCLONE_CONFIG_LAB_ENDPOINT: `http://127.0.0.1:${port}`,
      RCLONE_CONFIG_LAB_ACCESS_KEY_ID: "S3RVER",
      RCLONE_CONFIG_LAB_SECRET_ACCESS_KEY: "S3RVER",
    });
    assert.match(work.run(), /Restored/);
    const [name] = work.checkpoints;
    assert.equal(work.shell(`rclone lsf "$REMOTE"`).trim(), name);
  });

  it("3: the last three, deduplicated, with restic", { skip: lacks("restic") }, () => {
    using work = new RecipeFolder(3);
    fs.writeFileSync(join(work.dir, "password"), "lab\n");
    const [keep, bringBack] = work.recipe.commands as [string, string];
    work.shell(`for n in 1 2 3 4; do\n${keep}\ndone\n${bringBack}`);
    work.env["RESTIC_REPOSITORY"] = join(work.dir, "repository");
    work.env["RESTIC_PASSWORD_FILE"] = join(work.dir, "password");
    const kept = JSON.parse(work.shell("restic snapshots --json"));
    assert.equal(kept.length, 3);
  });

  it("4: to another machine, over ssh", {
    skip: lacks("ssh", "ssh-keygen", "sshd") ||
      (process.getuid!() === 0 ? false : "a server of ssh needs root"),
  }, async () => {
    using work = new RecipeFolder(4);
    const at = (name: string): string => join(work.folder, name);
    for (const key of ["host", "user"]) {
      work.shell(`ssh-keygen -q -t ed25519 -N "" -f ${at(key)}`);
    }
    const port = await freePort();
    fs.mkdirSync("/run/sshd", { recursive: true });
    fs.writeFileSync(
      at("sshd_config"),
      [
        `Port ${port}`,
        "ListenAddress 127.0.0.1",
        `HostKey ${at("host")}`,
        `AuthorizedKeysFile ${at("user.pub")}`,
        "StrictModes no",
        "PermitRootLogin yes",
        "UsePAM no",
        `SetEnv PATH=${work.env["PATH"]}`,
        "",
      ].join("\n"),
    );
    await work.serve(port, which("sshd")!, ["-D", "-e", "-f", at("sshd_config")]);
    const options = [
      `-p ${port} -i ${at("user")} -o BatchMode=yes`,
      `-o StrictHostKeyChecking=no -o UserKnownHostsFile=${at("known")}`,
    ].join(" ");
    work.program("ssh", `exec ${which("ssh")} -F /dev/null ${options} "$@"`);
    work.env["HOST"] = `${work.shell("id -un").trim()}@127.0.0.1`;
    assert.match(work.run(), /Restored sim:mapped/);
  });

  it("5: in continuous integration, without hardware", () => {
    using work = new RecipeFolder(5);
    work.program("bunx", 'exec "$@"');
    const steps = [...work.recipe.files.get("driver-tests.yml")!.matchAll(/- run: (.*)$/gm)];
    assert.equal(steps.length, 3);
    for (const [, step] of steps) work.shell(step!);
    assert.match(fs.readFileSync(join(work.folder, "check.xml"), "utf8"), /<testsuites/);
  });

  it("6: from Python", { skip: lacks("python3") }, () => {
    using work = new RecipeFolder(6);
    assert.match(work.run(), /^\d+ bytes, the device stood still for \d+\.\d{3} s$/m);
    work.env["DEVICE"] = `${DEVICE}&fault=read:1:EIO`;
    const failing = work.recipe.commands[0]!.replace(/$/m, " 2>&1 || echo failed $?");
    assert.match(work.shell(failing), /failed 1/);
  });

  it("7: over a fleet, with Ansible", { skip: lacks("ansible-playbook") }, () => {
    using work = new RecipeFolder(7);
    fs.writeFileSync(
      join(work.folder, "inventory"),
      ["one", "two"].map((host) => `${host} ansible_connection=local\n`).join(""),
    );
    work.env["INVENTORY"] = "inventory";
    work.env["ANSIBLE_LOCALHOST_WARNING"] = "False";
    assert.match(work.run(), /failed=0/);
    assert.deepEqual(work.checkpoints.sort(), ["one.vfk", "two.vfk"]);
  });

  it("8: as a systemd unit, with least permissions", {
    skip: lacks("systemd-analyze") || (hasOffline() ? false : "this systemd judges no files"),
  }, () => {
    using work = new RecipeFolder(8);
    assert.match(work.run(), /OK|SAFE|exposure/i);
  });

  it(
    "9: in a container with just its nodes",
    { skip: lacks("podman") || lacksContainers() },
    async () => {
      using work = new RecipeFolder(9);
      // This machine's files are the image; nodes that it has not are left out.
      work.program(
        "podman",
        `args=()
      shift
      while [ $# -gt 0 ]; do
        if [ "$1" = --device ] && [ ! -e "$2" ]; then shift 2; continue; fi
        if [ "$1" = --ulimit ] && ${!hasMemlock()}; then shift 2; continue; fi
        if [ "$1" = image ]; then args+=(--env PATH --rootfs /:O); else args+=("$1"); fi
        shift
      done
      exec ${which("podman")} ${CONTAINERS.join(" ")} "\${args[@]}"`,
      );
      Object.assign(work.env, { IMAGE: "image", GROUP: "7" });
      work.run();
      await verifies(join(work.dir, "device.vfk"));
    },
  );

  it(
    "10: from a task of Deno, as a library",
    { skip: IN_DENO ? false : "it is Deno's" },
    async () => {
      using work = new RecipeFolder(10);
      // The module that is published is this one.
      const config = JSON.parse(fs.readFileSync(join(work.folder, "deno.json"), "utf8"));
      config.imports = { "vfiokit": projectFile("mod.ts") };
      fs.writeFileSync(join(work.folder, "deno.json"), JSON.stringify(config));
      work.program("deno", `exec ${process.execPath} "$@"`);
      assert.match(work.run(), /^\d+ bytes$/m);
      await verifies(join(work.dir, "device.vfk"));
    },
  );
});

function hasOffline(): boolean {
  const { stdout } = spawnSync("systemd-analyze", ["--help"], { encoding: "utf8" });
  return /--offline/.test(stdout ?? "");
}

/** How podman runs here: by runc, where crun cannot, and within the limits of this process. */
const CONTAINERS: readonly string[] = [
  ...which("runc") === null ? [] : ["--runtime", "runc", "--cgroup-manager=cgroupfs"],
  ..."run --ulimit nofile=1024:1024 --ulimit nproc=1000:1000".split(" "),
];

function runsContainer(...options: readonly string[]): { status: number | null; stderr: string } {
  const words = [...CONTAINERS, "--rm", "--network", "none", ...options];
  return spawnSync("podman", [...words, "--rootfs", "/:O", "/bin/true"], { encoding: "utf8" });
}

function lacksContainers(): string | false {
  const { status, stderr } = runsContainer();
  const why = stderr?.trim().split("\n").at(-1);
  return status === 0 ? false : `podman runs no containers here: ${why}`;
}

/** Whether a container may lock all memory it likes: not in a machine that is one itself. */
function hasMemlock(): boolean {
  return runsContainer("--ulimit", "memlock=-1:-1").status === 0;
}
