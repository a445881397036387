import assert from "node:assert/strict";
import { it } from "node:test";
import { loadOrder, moduleDepends, moduleName } from "./modules.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

it("moduleName is the file's name as the kernel spells it", () => {
  assert.equal(moduleName("kernel/drivers/vfio/pci/vfio-pci.ko"), "vfio_pci");
  assert.equal(moduleName("9p.ko.xz"), "9p");
});

it("moduleDepends reads the .modinfo text of a module", () => {
  const module = bytes("\x7fELF…\0alias=devname:x\0depends=vfio,virtio-ring\0retpoline=Y\0");
  assert.deepEqual(moduleDepends(module), ["vfio", "virtio_ring"]);
  assert.deepEqual(moduleDepends(bytes("\0depends=\0")), []);
});

it("moduleDepends refuses what is no module", () => {
  assert.throws(() => moduleDepends(bytes("depend on me")), /no depends=/);
});

it("loadOrder puts each module once, behind all that it needs", () => {
  const needs: Record<string, string[]> = { a: ["b", "c"], b: ["c"], c: [], d: ["a"] };
  assert.deepEqual(loadOrder(["d", "b"], (name) => needs[name] ?? []), ["c", "b", "a", "d"]);
});

it("loadOrder refuses modules that need each other", () => {
  const needs: Record<string, string[]> = { a: ["b"], b: ["a"] };
  assert.throws(() => loadOrder(["a"], (name) => needs[name] ?? []), /"a" needs itself/);
});
