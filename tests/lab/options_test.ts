import assert from "node:assert/strict";
import { it } from "node:test";
import { parseOptions } from "./options.ts";

const names = (...args: string[]): string[] => parseOptions(args)!.kernels.map(({ name }) => name);

it("--kernel is 6.1, one or several, or all that need not be built", () => {
  assert.deepEqual(names(), ["6.1"]);
  assert.deepEqual(names("--kernel", "6.12-iommufd"), ["6.12-iommufd"]);
  assert.deepEqual(names("--kernel", "6.12,5.10"), ["6.12", "5.10"]);
  assert.deepEqual(names("--kernel", "all"), ["5.10", "6.1", "6.12", "7"]);
});

it("what stands behind -- is the command, whatever it is", () => {
  assert.deepEqual(parseOptions(["--", "sh", "--help"])!.command, ["sh", "--help"]);
});

it("--append is for the kernel, as often as it is given", () => {
  assert.deepEqual(parseOptions([])!.append, []);
  const args = ["--append", "intremap=off", "--append", "iommu=pt"];
  assert.deepEqual(parseOptions(args)!.append, ["intremap=off", "iommu=pt"]);
});

it("--serve runs the cases of the served device, if no others are named", () => {
  assert.deepEqual([parseOptions([])!.serve, parseOptions([])!.only], [false, undefined]);
  const { serve, only } = parseOptions(["--serve"])!;
  assert.deepEqual([serve, only], [true, "served:"]);
  assert.equal(parseOptions(["--serve", "--only", "doorbell"])!.only, "doorbell");
});

it("--guests 2 runs the cases that need two, if no others are named", () => {
  assert.deepEqual([parseOptions([])!.guests, parseOptions(["--guests", "2"])!.guests], [1, 2]);
  assert.equal(parseOptions(["--guests", "2"])!.only, "guests:");
  assert.equal(parseOptions(["--guests", "2", "--only", "trapped"])!.only, "trapped");
  assert.throws(() => parseOptions(["--guests", "3"]), /"3" guests: 1 or 2/);
  assert.throws(() => parseOptions(["--guests", "2", "--serve"]), /to two guests/);
});

it("--long runs what takes minutes; so does naming cases", () => {
  assert.equal(parseOptions([])!.long, false);
  assert.equal(parseOptions(["--long"])!.long, true);
  assert.equal(parseOptions(["--only", "vmm:"])!.long, true);
});

it("--once runs a case on the first kernel that can", () => {
  assert.equal(parseOptions([])!.once, false);
  assert.equal(parseOptions(["--once"])!.once, true);
});

it("parseOptions refuses kernels that it does not know, and times that are none", () => {
  assert.throws(() => parseOptions(["--kernel", "6.1,4.19"]), /"4.19": known are 5.10, 6.1/);
  assert.throws(() => parseOptions(["--timeout", "soon"]), /Cannot wait "soon"/);
  assert.equal(parseOptions(["--help"]), null);
});
