/** Sends bytes by a socket, one each 2 ms: for longer than a turn takes. */

import { serveParent } from "../../../src/base/thread.ts";
import { UnixSocket } from "../../../src/kernel/libc/unix_socket.ts";
import { sleepSync } from "../../../src/kernel/process/sleep_sync.ts";

serveParent<{ readonly fd: number; readonly bytes: Uint8Array }, never>(({ fd, bytes }) => {
  const socket = UnixSocket.adopt(fd);
  for (let at = 0; at < bytes.length; at++) {
    socket.send(bytes.subarray(at, at + 1));
    sleepSync(2);
  }
});
