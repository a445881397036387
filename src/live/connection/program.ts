/**
 * A connection over stdin and stdout of a program, such as ssh.
 *
 * @module
 */

import { type ChildProcess, spawn } from "node:child_process";
import { LiveError } from "../live_error.ts";
import { type Connection, streamConnection } from "./connection.ts";

/** How long after its pipes the end of a program may come, in milliseconds. */
const EXIT_MS = 1000;

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
  const exit = exitOf(child);
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", (error) =>
      reject(
        new LiveError("connection-lost", `Cannot run "${commandLine}": ${error.message}`, "", {
          cause: error,
        }),
      ));
  });
  const name = `"${commandLine}"`;
  const connection = streamConnection(name, child.stdout, child.stdin);
  const lost = ({ words }: Exit, cause?: unknown): LiveError =>
    new LiveError("connection-lost", `The connection to ${name} is lost: ${words}`, "", { cause });
  let closed = false;
  /** What is lost was lost since the program has ended, if it has. */
  const why = async (error: unknown): Promise<unknown> => {
    const ended = closed ? null : await exit();
    return ended === null ? error : lost(ended, error);
  };
  return {
    ...connection,
    async read(into): Promise<number> {
      try {
        const count = await connection.read(into);
        if (count > 0 || closed) return count;
      } catch (error) {
        throw await why(error);
      }
      const ended = await exit();
      if (ended?.failed) throw lost(ended);
      return 0;
    },
    async write(bytes): Promise<void> {
      try {
        await connection.write(bytes);
      } catch (error) {
        throw await why(error);
      }
    },
    close(): void {
      closed = true;
      connection.close();
    },
  };
}

/** How a program ended. */
interface Exit {
  readonly failed: boolean;
  readonly words: string;
}

/** Waits a while for the end of a program; null if it goes on. */
function exitOf(child: ChildProcess): () => Promise<Exit | null> {
  const exited = new Promise<Exit>((resolve) => {
    child.once("exit", (code, signal) =>
      resolve({
        failed: code !== 0,
        words: signal === null
          ? `the program ended with code ${code}`
          : `the program was ended by ${signal}`,
      }));
  });
  return async () => {
    const late = Promise.withResolvers<null>();
    const timer = setTimeout(() => late.resolve(null), EXIT_MS);
    try {
      return await Promise.race([exited, late.promise]);
    } finally {
      clearTimeout(timer);
    }
  };
}
