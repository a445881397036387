/** A thread that makes a buffer as large as it is asked for. */

import { serveParent } from "../../src/base/thread.ts";

serveParent<number, string>((size, parent) => {
  try {
    parent.post(`${new Uint8Array(size).length} bytes`);
  } catch {
    parent.post("no memory");
  }
});
