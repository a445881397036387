import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { EXIT_CODES } from "../../cli/exit_codes.ts";
import { COMMANDS } from "../../cli/specs/commands.ts";
import { projectFile, vfiokit } from "./_cli.ts";
import { Folder } from "./_folder.ts";

const NONE: readonly string[] = [];

describe("the command line", () => {
  it("prints the help on stderr and exits with 2 when it is empty", async () => {
    const { code, out, err } = await vfiokit([]);
    assert.equal(code, 2);
    assert.equal(out, "");
    assert.match(err, /Usage: vfiokit COMMAND/);
  });

  it("prints the help, with examples and exit codes, without any permission", async () => {
    const { code, out, err } = await vfiokit(["--help"], { permissions: NONE });
    assert.equal(code, 0);
    assert.equal(err, "");
    for (const { name, brief } of COMMANDS) {
      assert.ok(out.includes(` ${name} `) && out.includes(brief), name);
    }
    for (const [exitCode, meaning] of EXIT_CODES) {
      assert.ok(out.includes(exitCode) && out.includes(meaning), exitCode);
    }
    assert.match(out, /\$ vfiokit probe/);
  });

  it("prints a command's help by `-h`, `--help` and `help`", async () => {
    const [short, long, word] = await Promise.all([
      vfiokit(["save", "-h"], { permissions: NONE }),
      vfiokit(["save", "--help"], { permissions: NONE }),
      vfiokit(["help", "save"], { permissions: NONE }),
    ]);
    assert.equal(short.code, 0);
    assert.match(long.out, /Usage: vfiokit save DEVICE\.\.\. -o FILE\|-/);
    assert.equal(short.out, long.out);
    assert.equal(word.out.split("\n")[1], long.out.split("\n")[1]);
  });

  it("lists the commands of a group, on stderr if nothing else was asked for", async () => {
    const [help, bare] = await Promise.all([
      vfiokit(["dirty", "--help"], { permissions: NONE }),
      vfiokit(["dirty"], { permissions: NONE }),
    ]);
    assert.equal(help.code, 0);
    for (const word of ["get", "watch", "forecast"]) {
      assert.match(help.out, new RegExp(`^  ${word} `, "m"));
    }
    assert.deepEqual([bare.code, bare.out, bare.err], [2, "", help.out]);
  });

  it("shows an example in the help of every command", async () => {
    const pages = await Promise.all(
      COMMANDS.map(({ name }) => vfiokit([...name.split(" "), "--help"], { permissions: NONE })),
    );
    for (const [i, { code, out }] of pages.entries()) {
      assert.equal(code, 0);
      assert.ok(out.includes(`$ ${COMMANDS[i]!.examples[0].line}`), COMMANDS[i]!.name);
      assert.equal(out.split("\n").findIndex((line) => line.length > 100), -1);
    }
  });

  it("prints the version by `--version` and `-V`, that of the package files", async () => {
    const [long, short, late] = await Promise.all([
      vfiokit(["--version"], { permissions: NONE }),
      vfiokit(["-V"], { permissions: NONE }),
      vfiokit(["--version", "--help"], { permissions: NONE }),
    ]);
    const { version } = JSON.parse(readFileSync(projectFile("package.json"), "utf8"));
    assert.equal(long.out, `${version}\n`);
    assert.equal(short.out, long.out);
    assert.equal(late.code, 0);
  });

  const wrong: readonly (readonly [what: string, words: string[], says: RegExp])[] = [
    ["an unknown command, and the one it resembles", ["sav"], /Did you mean `save`/],
    [
      "an unknown option, and the one it resembles",
      ["save", "sim:none", "--outptu", "f"],
      /Did you mean `--output`/,
    ],
    ["a missing argument", ["probe"], /Expected a `DEVICE`/],
    ["a device without a checkpoint", ["restore", "d"], /Expected `DEVICE` and `FILE`/],
    ["a checkpoint without a device", ["save", "-o", "f"], /Expected a `DEVICE`/],
    ["a missing option", ["save", "sim:none"], /--output/],
    ["an option without its value", ["save", "sim:none", "-o"], /requires `FILE`/],
    ["an option given twice", ["save", "sim:none", "-o", "a", "-o", "b"], /multiple times/],
    ["an unknown state", ["state", "sim:none", "sideways"], /stop-and-copy/],
    ["one argument too many", ["verify", "a", "b"], /Unexpected option or argument: "b"/],
    [
      "a size that is none",
      ["save", "sim:none", "-o", "f", "--threshold", "3XiB"],
      /a number of bytes such as 4096, 64KiB or 1M, but got "3XiB"/,
    ],
    [
      "a time that is none",
      ["save", "sim:none", "-o", "f", "--max-time", "soon"],
      /a time such as 500ms or 2s, but got "soon"/,
    ],
    ["`with` without a program", ["with", "sim:none"], /-- COMMAND/],
    ["`with` with nothing after `--`", ["with", "sim:none", "--"], /-- COMMAND/],
    ["`with` without a device", ["with", "--", "true"], /Expected a `DEVICE`/],
    [
      "a VF token that is no UUID",
      ["probe", "sim:none", "--vf-token", "83b8f4f2-509f"],
      /a UUID such as .*, but got "83b8f4f2-509f"/,
    ],
    ["an empty device name", ["probe", ""], /empty/],
    ["an unknown command of a group", ["dirty", "gte", "sim:none"], /"?gte"?/],
    [
      "a range that is none",
      ["dirty", "get", "sim:none", "--map", "0x1000"],
      /a range such as 0x100000:64MiB, but got "0x1000"/,
    ],
    ["an empty range", ["dirty", "get", "sim:none", "--map", "0:0"], /"0:0" is empty/],
    [
      "a range that wraps",
      ["dirty", "get", "sim:none", "--map", "0xfffffffffffff000:8KiB"],
      /does not end below 2\^64/,
    ],
    [
      "an address that is none",
      ["unmap", "sim:none", "--map", "0:4096", "--size", "4096", "--iova", "0x10MiB"],
      /a number such as 0x100000, 4096 or 64MiB, but got "0x10MiB"/,
    ],
    [
      "a bandwidth that is none",
      ["dirty", "forecast", "f", "--bandwidth", "fast"],
      /a bandwidth such as 10Gbit, 400MiB or 10G \(a second\), but got "fast"/,
    ],
    ["no round", ["dirty", "watch", "sim:none", "--map", "0:4096", "--rounds", "0"], /1/],
    [
      "a tracker that there is not",
      ["dirty", "get", "sim:none", "--map", "0:4096", "--tracker", "iommu"],
      /"type1"/,
    ],
  ];
  for (const [what, words, says] of wrong) {
    it(`exits with 2 on ${what}, and says so on stderr alone`, async () => {
      const { code, out, err } = await vfiokit(words, { permissions: NONE });
      assert.equal(code, 2, err);
      assert.equal(out, "");
      assert.match(err, says);
      assert.match(err, /Try "vfiokit/);
    });
  }

  const meaningless: readonly (readonly [what: string, words: string[], says: RegExp])[] = [
    ["a v1 quirk for a v2 device", ["state", "sim:mlx5", "stop", "--quirk", "ice"], /speaks v2/],
    [
      "a group's fd for a device that is not borrowed",
      ["state", "sim:mlx5", "--group-fd", "3"],
      /Cannot use --group-fd with "sim:mlx5".*fd:N/,
    ],
    [
      "a container's fd for a device that is not borrowed",
      ["dirty", "get", "sim:mlx5", "--map", "0:4096", "--container-fd", "3"],
      /Cannot use --container-fd with "sim:mlx5".*fd:N/,
    ],
    [
      "one of two fds for a device that is not there",
      ["reset", "0000:3b:00.1", "--container-fd", "3"],
      /Cannot use --container-fd with "0000:3b:00.1"/,
    ],
  ];
  for (const [what, words, says] of meaningless) {
    it(`exits with 2 on ${what}, which would be ignored`, async () => {
      const { code, out, err } = await vfiokit(words);
      assert.equal(code, 2, err);
      assert.equal(out, "");
      assert.match(err, says);
    });
  }

  it("writes no checkpoint with a quirk that would be ignored, and takes one that is not", async () => {
    using folder = new Folder();
    const checkpoint = folder.file("a.vfk");
    const { code } = await vfiokit(["save", "sim:mlx5", "--quirk", "ice", "-o", checkpoint]);
    assert.equal(code, 2);
    assert.equal(existsSync(checkpoint), false);
    assert.equal((await vfiokit(["state", "sim:ice", "--quirk", "ice"])).code, 0);
  });

  it("takes any 16 bytes as a VF token, as the kernel does", async () => {
    const tokens = [
      "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001",
      "00000000-0000-0000-0000-000000000001",
      "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
    ];
    for (const token of tokens) {
      const { code, err } = await vfiokit(["probe", "sim:mlx5", "--no-open", "--vf-token", token]);
      assert.equal(code, 0, err);
    }
  });

  it("leaves what follows `--` to the program, options that look like ours too", async () => {
    const { out } = await vfiokit(["with", "nonsense", "--", "true", "--help", "--version"]);
    assert.equal(out, "");
  });
});

describe("completion", () => {
  it("prints a script that bash understands, without any permission", async () => {
    const { code, out } = await vfiokit(["completion", "bash"], { permissions: NONE });
    assert.equal(code, 0);
    const check = spawnSync("bash", ["-n"], { input: out, encoding: "utf8" });
    assert.equal(check.status, 0, check.stderr);
  });

  it("prints scripts for zsh and fish", async () => {
    const [zsh, fish] = await Promise.all([
      vfiokit(["completion", "zsh"], { permissions: NONE }),
      vfiokit(["completion", "fish"], { permissions: NONE }),
    ]);
    assert.match(zsh.out, /compdef _?vfiokit/);
    assert.match(fish.out, /complete .*vfiokit/);
  });

  it("suggests commands, options and their values", async () => {
    const suggest = async (...words: string[]): Promise<string[]> =>
      (await vfiokit(["completion", "bash", ...words], { permissions: NONE })).out.trim().split(
        "\n",
      );
    assert.deepEqual(await suggest("sa"), ["save"]);
    assert.deepEqual(await suggest("save", "d", "--leav"), ["--leave"]);
    assert.deepEqual(await suggest("save", "d", "--leave", "st"), ["stop"]);
    assert.ok((await suggest("probe", "sim:m")).includes("sim:mapped"));
    assert.ok((await suggest("save", "sim:qat", "sim:m")).includes("sim:mapped"));
    assert.ok((await suggest("restore", "sim:qat", "sim:m")).includes("sim:mapped"));
    assert.deepEqual(await suggest("dirty", "w"), ["watch"]);
    assert.deepEqual(await suggest("dirty", "watch", "d", "--heat"), ["--heatmap"]);
  });

  it("exits with 2 for a shell that it does not know", async () => {
    const { code, err } = await vfiokit(["completion", "tcsh"]);
    assert.equal(code, 2);
    assert.match(err, /"bash"/);
  });
});

describe("the man page", () => {
  it("is printed without any permission, and is the one in docs", async () => {
    const { code, out } = await vfiokit(["man"], { permissions: NONE });
    assert.equal(code, 0);
    assert.equal(out, readFileSync(projectFile("docs/vfiokit.1"), "utf8"));
  });

  it("has every command, every option and every exit code", async () => {
    const { out } = await vfiokit(["man"], { permissions: NONE });
    const titles = COMMANDS.map(({ name }) => `.SS vfiokit ${name.replaceAll("-", "\\-")}`);
    for (const title of titles) assert.ok(out.includes(title), title);
    for (const [code] of EXIT_CODES) assert.ok(out.includes(`.B ${code}`), code);
    assert.match(out, /\\fB\\-o, \\-\\-output FILE\\fR/);
  });
});
