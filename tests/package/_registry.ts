/** An npm registry on loopback that has the package, and what it depends on, and nothing else. */

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import * as path from "node:path";
import { projectFile } from "../cli/_cli.ts";

/** A package.json, as far as a registry reads it. */
interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

/** A package that the registry serves. */
interface Served {
  readonly manifest: Manifest;
  readonly tarball: Uint8Array;
}

/** A registry; it is closed at the end of a block. */
export class Registry implements AsyncDisposable {
  /** Its address. */
  readonly url: string;
  readonly #server: Server;

  private constructor(server: Server) {
    const { port } = server.address() as AddressInfo;
    this.url = `http://127.0.0.1:${port}`;
    this.#server = server;
  }

  /** Serves the packages in these folders, and what they depend on. */
  static async start(folders: readonly string[]): Promise<Registry> {
    const served = new Map<string, Served>();
    for (const folder of folders) add(folder, served);
    const server = createServer((request, response) => {
      const { pathname } = new URL(request.url!, "http://registry");
      const asked = decodeURIComponent(pathname.slice(1));
      const found = served.get(asked.replace(/\.tgz$/, ""));
      if (found === undefined) return void response.writeHead(404).end("{}");
      if (asked.endsWith(".tgz")) return void response.end(found.tarball);
      const url = `http://${request.headers.host}${pathname}.tgz`;
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify(packument(found, url)));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return new Registry(server);
  }

  /** Ends it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** Adds the package in a folder, and those that it depends on, from where they are installed. */
function add(folder: string, served: Map<string, Served>): void {
  const manifest: Manifest = JSON.parse(
    fs.readFileSync(path.join(folder, "package.json"), "utf8"),
  );
  if (served.has(manifest.name)) return;
  const words = ["-cz", "--transform", "s,^\\.,package,", "-C", folder, "."];
  const tarball = execFileSync("tar", words, { maxBuffer: 1 << 28 });
  served.set(manifest.name, { manifest, tarball });
  const { dependencies, optionalDependencies } = manifest;
  for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
    add(installed(name), served);
  }
}

/** The folder of a dependency; Deno keeps all of them in one place. */
function installed(name: string): string {
  const store = projectFile("node_modules/.deno/node_modules");
  const places = [projectFile("node_modules"), store].map((place) => path.join(place, name));
  const folder = places.find((place) => fs.existsSync(place));
  if (folder === undefined) throw new Error(`${name} is not installed`);
  return fs.realpathSync(folder);
}

function packument({ manifest, tarball }: Served, url: string): Record<string, unknown> {
  const { name, version } = manifest;
  const digest = (algorithm: string, encoding: "hex" | "base64"): string =>
    createHash(algorithm).update(tarball).digest(encoding);
  const dist = {
    tarball: url,
    shasum: digest("sha1", "hex"),
    integrity: `sha512-${digest("sha512", "base64")}`,
  };
  return {
    name,
    "dist-tags": { latest: version },
    versions: { [version]: { ...manifest, dist } },
    time: { [version]: "2026-01-01T00:00:00.000Z" },
  };
}
