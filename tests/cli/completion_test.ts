import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import { SIM_OPTIONS, SIMULATED } from "../../cli/completion/sim_names.ts";
import { OPTIONS, PERSONALITIES } from "../../src/sim/mod.ts";
import { command, vfiokit } from "./_cli.ts";
import { Folder } from "./_folder.ts";
import { lineAtTerminal } from "./_terminal.ts";

/** How each shell is started, asked for nothing but its completion, and given the script. */
const SHELLS: Readonly<Record<string, { words: string[]; prepare: (script: string) => string }>> = {
  bash: {
    words: ["bash", "--norc", "--noprofile", "-i"],
    prepare: (script) => `source ${script}`,
  },
  zsh: {
    words: ["zsh", "-f", "-i"],
    prepare: (script) => `autoload -U compinit; compinit -u -D; source ${script}`,
  },
};

function lacks(shell: string): string | false {
  return spawnSync(shell, ["-c", "true"]).status === 0 ? false : `${shell} is not installed`;
}

let folder: Folder;

before(async () => {
  folder = new Folder();
  mkdirSync(folder.file("bin"));
  const ours = command().map((word) => `'${word}'`).join(" ");
  // What is completed is printed, and not run.
  const stub = `#!/bin/sh\ntest "$1" = completion && exec ${ours} "$@"\necho "<<$*>>"\n`;
  writeFileSync(folder.file("bin/vfiokit"), stub);
  chmodSync(folder.file("bin/vfiokit"), 0o755);
  for (const shell of ["bash", "zsh", "fish"]) {
    writeFileSync(folder.file(shell), (await vfiokit(["completion", shell])).out);
  }
});

after(() => folder[Symbol.dispose]());

function env(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `${folder.file("bin")}:${process.env["PATH"]}`, TERM: "xterm" };
}

/** Types lines into a shell at a terminal, each with a Tab before its end; returns the screen. */
async function typed(shell: string, lines: readonly string[]): Promise<string> {
  const { words, prepare } = SHELLS[shell]!;
  const line = `cd ${folder.file("bin")}; exec ${words.join(" ")}`;
  const { screen } = await lineAtTerminal(line, { ...env(), HISTFILE: "" }, ({ stdin }) => {
    // A shell reads its terminal in order: a line is run after the completion before its end.
    stdin.write(`${prepare(folder.file(shell))}\n`);
    for (const line of lines) stdin.write(`${line}\t\n`);
    stdin.write("exit\n");
  });
  return screen;
}

/** A word that is begun, and the command line that it becomes. */
const UNIQUE: readonly (readonly [line: string, ran: string])[] = [
  ["vfiokit probe sim:mlx", "probe sim:mlx5"],
  ["vfiokit state 0000:3b:00.1 stop-and", "state 0000:3b:00.1 stop-and-copy"],
  ["vfiokit state sim:mlx5 pre-copy-", "state sim:mlx5 pre-copy-p2p"],
  ["vfiokit save sim:qat --leave st", "save sim:qat --leave stop"],
];

describe("completion", () => {
  for (const shell of Object.keys(SHELLS)) {
    it(`in ${shell} completes words with colons and what follows them`, {
      skip: lacks(shell),
    }, async () => {
      const screen = await typed(shell, UNIQUE.map(([line]) => line));
      for (const [, ran] of UNIQUE) {
        assert.ok(screen.replaceAll(" >>", ">>").includes(`<<${ran}>>`), `${ran}: ${screen}`);
      }
    });
  }

  it("in fish completes words with colons and what follows them", { skip: lacks("fish") }, () => {
    const asked = UNIQUE.map(([line]) => `complete -C '${line}'`).join("; ");
    const script = `source ${folder.file("fish")}; ${asked}`;
    const { stdout } = spawnSync("fish", ["--no-config", "-c", script], {
      env: env(),
      encoding: "utf8",
    });
    const offered = stdout.trimEnd().split("\n").map((line) => line.split("\t")[0]);
    for (const [, ran] of UNIQUE) assert.ok(offered.includes(ran.split(" ").at(-1)), stdout);
  });

  it("offers the simulator's personalities and options, those that there are", async () => {
    assert.deepEqual(SIMULATED, Object.keys(PERSONALITIES));
    assert.deepEqual(SIM_OPTIONS, [...Object.keys(OPTIONS), "fault", "bug"]);
    const { out } = await vfiokit(["completion", "bash", "save", "sim:mlx5?size=1MiB&se"]);
    assert.deepEqual(out.trim().split("\n")[0], "sim:mlx5?size=1MiB&seed=");
  });
});
