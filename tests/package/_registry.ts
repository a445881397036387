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

  /** Serves the package in a folder, and all that it depends on. */
  static async start(folder: string): Promise<Registry> {
    const served: Served[] = [];
    add(folder, projectFile("node_modules"), served);
    const server = createServer((request, response) => {
      const { pathname } = new URL(request.url!, "http://registry");
      const asked = decodeURIComponent(pathname.slice(1));
      const tarball = served.find(({ manifest }) => asked === tarballName(manifest))?.tarball;
      if (tarball !== undefined) return void response.end(tarball);
      const versions = served.filter(({ manifest }) => manifest.name === asked);
      if (versions.length === 0) return void response.writeHead(404).end("{}");
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify(packument(versions, `http://${request.headers.host}`)));
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

/** Adds the package in a folder; what it depends on is in another folder, or in Deno's store. */
function add(folder: string, modules: string, served: Served[]): void {
  const manifest: Manifest = JSON.parse(
    fs.readFileSync(path.join(folder, "package.json"), "utf8"),
  );
  if (served.some((other) => tarballName(other.manifest) === tarballName(manifest))) return;
  const words = ["-cz", "--transform", "s,^\\.,package,", "-C", folder, "."];
  const tarball = execFileSync("tar", words, { maxBuffer: 1 << 28 });
  served.push({ manifest, tarball });
  const { dependencies, optionalDependencies } = manifest;
  for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
    const installed = fs.realpathSync(path.join(modules, name));
    // Deno has the dependencies of a package beside it.
    add(installed, path.join(installed, ...name.split("/").map(() => "..")), served);
  }
}

function tarballName({ name, version }: Manifest): string {
  return `${name}/-/${version}.tgz`;
}

function packument(versions: readonly Served[], url: string): Record<string, unknown> {
  const newest = versions.map(({ manifest }) => manifest.version).sort().at(-1)!;
  return {
    name: versions[0]!.manifest.name,
    "dist-tags": { latest: newest },
    versions: Object.fromEntries(
      versions.map((served) => [served.manifest.version, versionOf(served, url)]),
    ),
    time: Object.fromEntries(
      versions.map(({ manifest }) => [manifest.version, "2026-01-01T00:00:00.000Z"]),
    ),
  };
}

function versionOf({ manifest, tarball }: Served, url: string): Record<string, unknown> {
  const digest = (algorithm: string, encoding: "hex" | "base64"): string =>
    createHash(algorithm).update(tarball).digest(encoding);
  const dist = {
    tarball: `${url}/${tarballName(manifest)}`,
    shasum: digest("sha1", "hex"),
    integrity: `sha512-${digest("sha512", "base64")}`,
  };
  return { ...manifest, dist };
}
