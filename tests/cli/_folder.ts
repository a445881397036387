/** A temporary folder for the length of a test. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Makes a folder; it is removed with all in it at the end of a `using` block. */
export class Folder implements Disposable {
  readonly #path = mkdtempSync(join(tmpdir(), "vfiokit-cli-"));

  /** A file in it. */
  file(name: string): string {
    return join(this.#path, name);
  }

  [Symbol.dispose](): void {
    rmSync(this.#path, { recursive: true });
  }
}
