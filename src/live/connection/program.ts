/**
 * A connection over stdin and stdout of a program, such as ssh.
 *
 * @module
 */

import { spawn } from "node:child_process";
import { LiveError } from "../live_error.ts";
import { type Connection, streamConnection } from "./connection.ts";

/**
 * Runs a command line by the shell; what it prints on stderr goes to ours.
 *
 * @throws {LiveError} `connection-lost` if it cannot be run.
 */
export async function connectProgram(commandLine: string): Promise<Connection> {
  // In a separate process group, Ctrl-C ends the migration in order and not the program under it.
  const child = spawn("/bin/sh", ["-c", commandLine], {
    stdio: ["pipe", "pipe", "inherit"],
    detached: true,
  });
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", (error) =>
      reject(
        new LiveError("connection-lost", `Cannot run "${commandLine}": ${error.message}`, "", {
          cause: error,
        }),
      ));
  });
  return streamConnection(`"${commandLine}"`, child.stdout, child.stdin);
}
