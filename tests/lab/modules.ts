/**
 * Kernel modules and what they depend on, read from the modules themselves: a
 * package that was never installed has no modules.dep.
 *
 * @module
 */

import { Buffer } from "node:buffer";

/** The modules that every guest loads, in addition to what these need. */
export const MODULES: readonly string[] = [
  ...["virtio_pci", "virtio_net", "9p", "9pnet_virtio", "vfio_iommu_type1", "vfio-pci", "mdev"],
];

/** A module's name: its file's, with underscores, as the kernel says it. */
export function moduleName(path: string): string {
  return (path.split("/").at(-1) ?? "").replace(/\.ko(\..*)?$/, "").replaceAll("-", "_");
}

/** The modules that one needs loaded before it: `depends=` in its .modinfo section. */
export function moduleDepends(module: Uint8Array): string[] {
  const bytes = Buffer.from(module.buffer, module.byteOffset, module.byteLength);
  const key = "\0depends=";
  const at = bytes.indexOf(key, 0, "latin1");
  if (at < 0) throw new Error("Cannot read the kernel module: it has no depends= in it");
  const start = at + key.length;
  const text = bytes.toString("latin1", start, bytes.indexOf(0, start));
  return text.split(",").filter((name) => name !== "").map(moduleName);
}

/** The wanted modules and all that they need, each behind what it needs. */
export function loadOrder(
  wanted: readonly string[],
  depends: (name: string) => readonly string[],
): string[] {
  const order: string[] = [];
  const visit = (name: string, path: readonly string[]): void => {
    if (order.includes(name)) return;
    if (path.includes(name)) {
      throw new Error(`Cannot order the kernel modules: "${name}" needs itself`);
    }
    for (const dependency of depends(name)) visit(dependency, [...path, name]);
    order.push(name);
  };
  for (const name of wanted) visit(moduleName(name), []);
  return order;
}
