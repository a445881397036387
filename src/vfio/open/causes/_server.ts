/**
 * Causes in the server of a device that is reached by a socket.
 */

import { because, type Causes, type OpeningFailure } from "./_cause.ts";

/** What the server did, where that is known. */
function what({ error }: OpeningFailure, otherwise: string): string {
  return error.detail === "" ? otherwise : error.detail;
}

/** The causes. */
export const SERVER = {
  "no-socket": {
    kind: "cannot",
    otherWay: false,
    reason: (failure) =>
      because(
        failure,
        "no-server",
        "there is no socket of that name",
        "Start the device's server, and see which socket it makes",
      ),
  },
  "no-server": {
    kind: "cannot",
    otherWay: false,
    reason: (failure) =>
      because(
        failure,
        "no-server",
        "no server listens there: it has ended, or this is another kind of file",
        "Start the device's server; one that was killed leaves its socket's file behind",
      ),
  },
  "bad-socket-path": {
    kind: "cannot",
    otherWay: false,
    reason: (failure) =>
      because(
        failure,
        "no-server",
        "a socket's path has at most 107 bytes",
        "Use a shorter path, such as one that begins in the present folder",
      ),
  },
  "server-silent": {
    kind: "failed",
    otherWay: false,
    reason: (failure) =>
      because(
        failure,
        "server-silent",
        what(failure, "the server has no room for another client"),
        "See that no other client is connected: most servers serve one at a time; and that it runs",
      ),
  },
  "not-vfio-user": {
    kind: "cannot",
    otherWay: false,
    reason: (failure) =>
      because(
        failure,
        "not-vfio-user",
        what(failure, "the server refuses the protocol's version"),
        "See that it is a vfio-user server, of protocol version 0",
      ),
  },
  "server-gone": {
    kind: "failed",
    otherWay: false,
    reason: (failure) =>
      because(
        failure,
        "server-gone",
        what(failure, "the server closed the connection"),
        "See what the server says: it ended, or it does not serve this user",
      ),
  },
} satisfies Causes;
