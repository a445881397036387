import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { describe, it } from "node:test";
import { COMMANDS } from "../../cli/specs/commands.ts";
import { sampleFields } from "../../cli/dirty/samples.ts";
import { IN_DENO, projectFile, vfiokit } from "./_cli.ts";
import { Folder } from "./_folder.ts";
import { snapshotConfig, snapshotState } from "../vmm/_cloud_hypervisor.ts";
import { qemuStream } from "../vmm/_qemu_stream.ts";
import { sampleRounds } from "./_sample_rounds.ts";

const skip = IN_DENO ? false : "permissions are Deno's";

/** A command line of each command that the table gives permissions for. */
function lines(folder: Folder): Readonly<Record<string, readonly string[]>> {
  const file = folder.file("a");
  const samples = folder.file("samples");
  writeFileSync(
    samples,
    sampleRounds().map((sample) => `${JSON.stringify(sampleFields(sample))}\n`).join(""),
  );
  const guest = folder.file("guest");
  const device = { name: "0000:00:05.0/vfio", stopCopy: [new Uint8Array(8)] };
  writeFileSync(guest, qemuStream({ devices: [device] }));
  const snapshot = folder.file("snapshot");
  mkdirSync(snapshot);
  const devices = [{ name: "nic0", state: new Uint8Array(8) }];
  writeFileSync(`${snapshot}/state.json`, snapshotState(devices));
  writeFileSync(`${snapshot}/config.json`, snapshotConfig([{ id: "nic0", path: "/sys" }]));
  return {
    list: ["list"],
    probe: ["probe", "sim:mapped"],
    state: ["state", "sim:mapped", "stop"],
    reset: ["reset", "sim:mapped"],
    check: ["check", "sim:mapped?size=1MiB"],
    save: ["save", "sim:mapped?size=1MiB", "--precopy", "-o", file],
    restore: ["restore", "sim:mapped?size=1MiB", file],
    "phase precopy": ["phase", "precopy", "sim:mapped?size=1MiB"],
    "phase stop-and-copy": ["phase", "stop-and-copy", "sim:mapped?size=1MiB"],
    "phase resume": ["phase", "resume", "sim:mapped?size=1MiB"],
    verify: ["verify", file],
    show: ["show", file],
    "import qemu": ["import", "qemu", guest, "-o", folder.file("imported")],
    "import cloud-hypervisor": [
      ...["import", "cloud-hypervisor", snapshot, "-o", folder.file("imported from a snapshot")],
    ],
    "dirty forecast": ["dirty", "forecast", samples, "--bandwidth", "10Gbit", "--downtime", "50ms"],
    "dirty get": ["dirty", "get", "sim:mapped", "--map", "0:1MiB", "--after", "1ms"],
    "dirty watch": ["dirty", "watch", "sim:mapped", "--map", "0:1MiB", "--rounds", "1"],
    unmap: ["unmap", "sim:mapped", "--map", "0:4KiB", "--iova", "0", "--size", "4KiB"],
    uapi: ["uapi", "vfio_region_info"],
    demo: ["demo"],
    man: ["man"],
  };
}

describe("a command", () => {
  it("runs with the permissions that its help names, and no more", { skip }, async () => {
    using folder = new Folder();
    for (const [name, words] of Object.entries(lines(folder))) {
      const permissions = COMMANDS.find((command) => command.name === name)?.permissions ?? [];
      // What `phase resume` reads; nothing else reads stdin.
      const stdin = name === "phase resume" ? readFileSync(folder.file("a")) : "";
      const { code, err } = await vfiokit(words, { permissions, stdin });
      assert.equal(code, 0, `${name}: ${err}`);
    }
  });

  it("names the flag that is missing", { skip }, async () => {
    const { code, err } = await vfiokit(["state", "0000:3b:00.1"], { permissions: [] });
    assert.equal(code, 1);
    assert.match(err, /--allow-/);
  });
});

/** The rows of the README's table of permissions: what is run, and the flags. */
function readmeRows(): (readonly [what: string, flags: string])[] {
  const section = readFileSync(projectFile("README.md"), "utf8").split("## Permissions")[1]!;
  return section.split("\n## ")[0]!.split("\n").filter((line) => line.startsWith("| "))
    .slice(2)
    .map((line) => line.split("|").slice(1, 3).map((cell) => cell.trim()))
    .map(([what, flags]) => [what!, flags!] as const);
}

describe("the README's table of permissions", () => {
  it("has each command once, with the flags that it is tested with", () => {
    const names = new Set(COMMANDS.map(({ name }) => name));
    const told = readmeRows().filter(([, flags]) => !flags.startsWith("and "))
      .flatMap(([what, flags]) =>
        [...what.matchAll(/`([^`]+)`/g)].map(([, name]): [string, string] => [
          name!,
          flags === "none" ? "" : flags.replaceAll("`", ""),
        ])
      )
      .filter(([name]) => names.has(name));
    const tested = COMMANDS.map(({ name, permissions }) => [name, permissions.join(" ")]);
    assert.deepEqual(told.sort(), tested.sort());
  });

  it("has what files that are written besides need", { skip }, async () => {
    using folder = new Folder();
    const dirty = ["sim:mapped", "--map", "0:1MiB"];
    const trace = folder.file("trace");
    for (
      const [option, words] of [
        ["-o", ["dirty", "get", ...dirty, "--after", "1ms", "-o", folder.file("pages")]],
        ["--report", [
          ...["dirty", "watch", ...dirty, "--rounds", "1"],
          ...["--report", folder.file("report.html")],
        ]],
        ["--trace", ["state", "sim:mapped", "--trace", trace]],
        ["--perfetto", ["trace", "show", trace, "--perfetto", folder.file("perfetto.json")]],
        ["--json=FILE", ["uapi", `--json=${folder.file("uapi.json")}`]],
      ] as const
    ) {
      const and = readmeRows().find(([what]) => what.includes(`\`${option}\``))![1];
      const more = and.replace("and ", "").replaceAll("`", "").split(" ");
      const needed = COMMANDS.find(({ name }) => words.join(" ").startsWith(name))!.permissions;
      const { code, err } = await vfiokit(words, { permissions: [...needed, ...more] });
      assert.equal(code, 0, `${words.join(" ")}: ${err}`);
    }
  });
});

describe("the lock file", () => {
  it("names no registry", () => {
    assert.doesNotMatch(readFileSync(projectFile("deno.lock"), "utf8"), /https?:/);
  });
});
