import assert from "node:assert/strict";
import * as fs from "node:fs";
import { describe, it } from "node:test";
import {
  CheckpointError,
  MigrationError,
  ReadBackError,
  TransferError,
  UnsupportedError,
} from "../../mod.ts";
import {
  BAD_CHECKPOINT,
  CANNOT,
  EXIT_CODES_BY_CLASS,
  exitCodeOf,
  FAILED,
  NEEDS_RESET,
} from "../../cli/exit_codes.ts";

const root = new URL("../../", import.meta.url);

/** The names of the classes of errors that a folder's files export. */
function errorClasses(folder: URL): string[] {
  return fs.readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (entry.isDirectory()) return errorClasses(new URL(`${entry.name}/`, folder));
    if (!entry.name.endsWith(".ts")) return [];
    const text = fs.readFileSync(new URL(entry.name, folder), "utf8");
    return [...text.matchAll(/^export class (\w+Error) extends/gm)].map(([, name]) => name!);
  });
}

/** Errors of the library's inside, which are always turned into others. */
const INSIDE = ["DriverError", "FieldError"];

function failure(
  code: MigrationError["code"],
  deviceState: MigrationError["deviceState"] = "running",
  cause?: Error,
): MigrationError {
  return new MigrationError("it failed", { code, deviceState, recovery: "none" }, { cause });
}

const bad = new CheckpointError("crc", 16, "frame 2 has a wrong CRC");

describe("the exit code of an error", () => {
  it("is in the table for every class that there is", () => {
    const classes = [
      ...errorClasses(new URL("src/", root)),
      ...errorClasses(new URL("cli/", root)),
    ];
    const outside = classes.filter((name) => !INSIDE.includes(name) && name !== "VfiokitError");
    assert.deepEqual(Object.keys(EXIT_CODES_BY_CLASS).sort(), [...new Set(outside)].sort());
  });

  it("is the largest one along the causes", () => {
    const refused = new UnsupportedError([]);
    assert.equal(exitCodeOf([failure("io"), refused], undefined), CANNOT);
    assert.equal(exitCodeOf([failure("io"), bad], undefined), BAD_CHECKPOINT);
    assert.equal(exitCodeOf([new Error("a mistake")], undefined), FAILED);
  });

  it("is that of its code, if a driver says more by it", () => {
    assert.equal(exitCodeOf([failure("no-such-state")], undefined), CANNOT);
    assert.equal(exitCodeOf([failure("incompatible-state")], undefined), BAD_CHECKPOINT);
  });

  it("is 128+n after a signal, and 5 even then if the device needs a reset", () => {
    assert.equal(exitCodeOf([failure("cancelled")], "SIGTERM"), 143);
    assert.equal(exitCodeOf([failure("cancelled", "error")], "SIGTERM"), NEEDS_RESET);
  });

  it("is by the state of the outer error", () => {
    const lost = failure("io", "error");
    assert.equal(exitCodeOf([failure("io", "running", lost), lost], undefined), FAILED);
    const several = new TransferError("it failed", { code: "io", devices: [] });
    assert.equal(exitCodeOf([several, lost], undefined), FAILED);
  });

  it("is 1 for a checkpoint that a save has written and taken back", () => {
    const info = { code: "read-back", path: "a.vfk" } as const;
    const unread = new ReadBackError("it is bad", info, { cause: bad });
    assert.equal(exitCodeOf([failure("read-back"), unread, bad], undefined), FAILED);
  });
});
