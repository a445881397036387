/** A folder with the files of a page of docs, and a shell in it that has `vfiokit`. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import { delimiter, join } from "node:path";
import process from "node:process";
import { command } from "../cli/_cli.ts";

/** A folder with files, and programs of the test before all others. */
export class ShellFolder implements Disposable {
  readonly folder = fs.mkdtempSync(join(os.tmpdir(), "vfiokit-docs-"));
  readonly programs = join(this.folder, "bin");
  readonly env: Record<string, string> = {
    HOME: this.folder,
    PATH: `${this.programs}${delimiter}${process.env["PATH"]}`,
  };

  constructor(files: ReadonlyMap<string, string>) {
    fs.mkdirSync(this.programs);
    for (const [name, text] of files) fs.writeFileSync(join(this.folder, name), text);
    const permissions = ["ffi", "read", "write", "run", "env", "net"].map((what) =>
      `--allow-${what}`
    );
    const words = command({ permissions }).map((word) => `'${word}'`).join(" ");
    this.program("vfiokit", `exec ${words} "$@"`);
  }

  /** Puts a shell script before the program of that name. */
  program(name: string, text: string): void {
    fs.writeFileSync(join(this.programs, name), `#!/bin/bash\n${text}\n`, { mode: 0o755 });
  }

  /** Runs a script, which must succeed. */
  shell(script: string): string {
    const { status, stdout, stderr } = spawnSync("bash", ["-euo", "pipefail", "-c", script], {
      cwd: this.folder,
      env: { ...process.env, ...this.env },
      encoding: "utf8",
      timeout: 300_000,
    });
    assert.equal(status, 0, `${script}\n${stdout}${stderr}`);
    return stdout;
  }

  [Symbol.dispose](): void {
    fs.rmSync(this.folder, { recursive: true, force: true });
  }
}
