/**
 * The key and certificate of one side, and the certificates of the peers it accepts.
 *
 * @module
 */

import { createHash, X509Certificate } from "node:crypto";
import * as fs from "node:fs";
import { TcpError } from "./tcp_error.ts";

/** The identity of this side, and the peers that it accepts: all as PEM. */
export interface TlsIdentity {
  /** The private key (PKCS #8). */
  readonly key: string;
  /** The certificate of the key. */
  readonly certificate: string;
  /** The certificates of accepted peers, or of authorities that issue theirs. */
  readonly peers: readonly string[];
  /** The name in the peer's certificate. Default: {@linkcode CERTIFICATE_NAME}. */
  readonly peerName?: string | undefined;
}

/** The files of a {@linkcode TlsIdentity}. */
export interface TlsFiles {
  /** The private key's; only its owner may read it. */
  readonly key: string;
  /** The certificate's. */
  readonly certificate: string;
  /** Those of the certificates of accepted peers, at least one. */
  readonly peers: readonly string[];
  /** The name in the peer's certificate. Default: that of {@linkcode generateKeys}. */
  readonly peerName?: string | undefined;
}

/** The name in certificates that {@linkcode generateKeys} makes. */
export const CERTIFICATE_NAME = "vfiokit";

/** A certificate of ten years: a lab's pair is replaced by hand, if ever. */
const VALID_DAYS = 3650;

/** PEM files are short. */
const MAX_PEM_BYTES = 256 << 10;

/**
 * Makes a key (ECDSA, P-256) and its self-signed certificate, which can issue no others.
 *
 * @example
 * ```ts
 * import { fingerprint, generateKeys } from "vfiokit/live";
 * import assert from "node:assert/strict";
 *
 * const { key, certificate } = await generateKeys();
 * assert.match(key, /^-----BEGIN PRIVATE KEY-----\n/);
 * assert.match(fingerprint(certificate), /^[0-9a-f]{64}$/);
 * ```
 */
export async function generateKeys(): Promise<Pick<TlsIdentity, "key" | "certificate">> {
  // It must be there before the library, which looks for it as it loads.
  await import("reflect-metadata");
  const x509 = await import("@peculiar/x509");
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const now = Date.now();
  const day = 24 * 3600 * 1000;
  const serverAndClient = ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"];
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: crypto.randomUUID().replaceAll("-", "").replace(/^./, "4"),
    name: `CN=${CERTIFICATE_NAME}`,
    // Clocks of two machines differ.
    notBefore: new Date(now - day),
    notAfter: new Date(now + VALID_DAYS * day),
    signingAlgorithm: algorithm,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.ExtendedKeyUsageExtension(serverAndClient),
      new x509.SubjectAlternativeNameExtension([{ type: "dns", value: CERTIFICATE_NAME }]),
    ],
  });
  const key = await crypto.subtle.exportKey("pkcs8", keys.privateKey);
  return {
    key: `${x509.PemConverter.encode(key, "PRIVATE KEY")}\n`,
    certificate: `${certificate.toString("pem")}\n`,
  };
}

/** The SHA-256 of a certificate, in hex, for people to compare. */
export function fingerprint(certificate: string): string {
  return createHash("sha256").update(new X509Certificate(certificate).raw).digest("hex");
}

/**
 * Reads the files of an identity.
 *
 * @throws {TcpError} If one cannot be read, is something else, or if others than its owner may read
 * the key (`bad-key`).
 */
export function readIdentity({ key, certificate, peers, peerName }: TlsFiles): TlsIdentity {
  if (peers.length === 0) {
    throw new TcpError("bad-key", "No peer is accepted: name the certificate of at least one");
  }
  return {
    key: readKey(key),
    certificate: readCertificate(certificate),
    peers: peers.map(readCertificate),
    peerName,
  };
}

function readKey(path: string): string {
  const [text, mode] = readPem(path);
  if ((mode & 0o077) !== 0) {
    throw new TcpError(
      "bad-key",
      `The key ${path} can be read by others than its owner (mode ${(mode & 0o777).toString(8)})`,
      undefined,
      `chmod 600 ${path}`,
    );
  }
  if (!/-----BEGIN (?:EC |RSA )?PRIVATE KEY-----/.test(text)) {
    throw new TcpError("bad-key", `${path} is no private key in PEM`);
  }
  return text;
}

function readCertificate(path: string): string {
  const [text] = readPem(path);
  try {
    fingerprint(text);
  } catch (error) {
    throw new TcpError("bad-key", `${path} is no certificate in PEM`, error);
  }
  return text;
}

function readPem(path: string): [text: string, mode: number] {
  let size: number;
  let mode: number;
  let text: string;
  try {
    ({ size, mode } = fs.statSync(path));
    text = size > MAX_PEM_BYTES ? "" : fs.readFileSync(path, "utf8");
  } catch (error) {
    throw new TcpError("bad-key", `Cannot read ${path}: ${(error as Error).message}`, error);
  }
  if (size > MAX_PEM_BYTES) throw new TcpError("bad-key", `${path} is too long for a PEM file`);
  return [text, mode];
}
