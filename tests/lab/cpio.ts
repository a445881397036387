/**
 * Writing a cpio archive in the "newc" format, which the kernel unpacks as its
 * first root file system (Documentation/driver-api/early-userspace).
 *
 * @module
 */

/** One entry of the archive. Folders come before what is in them. */
export interface CpioEntry {
  /** The path, without a leading slash. */
  readonly path: string;
  /** What it is: `data` belongs to a file, `target` to a link. */
  readonly kind: "folder" | "file" | "link";
  /** A file's bytes. */
  readonly data?: Uint8Array;
  /** Where a link points. */
  readonly target?: string;
  /** A file's permissions; 0644 where not given. */
  readonly mode?: number;
}

const TYPE = { folder: 0o040000, file: 0o100000, link: 0o120000 } as const;

function field(value: number): string {
  return value.toString(16).padStart(8, "0");
}

function permissions(entry: CpioEntry): number {
  if (entry.kind === "folder") return 0o755;
  return entry.kind === "link" ? 0o777 : entry.mode ?? 0o644;
}

/** Pads to the four bytes that the format aligns everything to. */
function pad(length: number): Uint8Array {
  return new Uint8Array((4 - length % 4) % 4);
}

function member(inode: number, mode: number, path: string, data: Uint8Array): Uint8Array[] {
  const name = new TextEncoder().encode(path + "\0");
  const head = "070701" +
    // ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor
    [inode, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0].map(field).join("") +
    field(name.length) + field(0);
  const bytes = new TextEncoder().encode(head);
  return [bytes, name, pad(bytes.length + name.length), data, pad(data.length)];
}

/** The archive, as the pieces that make it up. */
export function cpio(entries: readonly CpioEntry[]): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  entries.forEach((entry, index) => {
    const data = entry.kind === "link"
      ? new TextEncoder().encode(entry.target ?? "")
      : entry.data ?? new Uint8Array();
    pieces.push(...member(index + 1, TYPE[entry.kind] | permissions(entry), entry.path, data));
  });
  pieces.push(...member(0, 0, "TRAILER!!!", new Uint8Array()));
  return pieces;
}
