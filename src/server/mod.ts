/**
 * A vfio-user server: it makes a simulated device, or a trace that is replayed, available to other
 * processes over a socket. {@linkcode Server} runs on a separate thread. The protocol, and what
 * vfiokit adds to it, is in docs/vfio-user.md.
 *
 * @example
 * ```ts
 * import { Server } from "vfiokit/server";
 * import * as fs from "node:fs";
 * import assert from "node:assert/strict";
 *
 * const folder = fs.mkdtempSync("/tmp/serve-");
 * {
 *   await using server = await Server.listen("sim:mlx5?size=1MiB", `${folder}/mlx5.sock`);
 *   assert.ok(fs.lstatSync(`${folder}/mlx5.sock`).isSocket());
 * }
 * assert.deepEqual(fs.readdirSync(folder), []);
 * fs.rmdirSync(folder);
 * ```
 *
 * @module
 */

export { ThreadError } from "../base/thread_error.ts";
export { type ServeOptions, Server, type ServerEvent } from "./server.ts";
export { SocketFileError, type SocketFileErrorCode } from "../kernel/libc/socket_file.ts";
