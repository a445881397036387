/**
 * The quirk profile of a device with a known v1 driver.
 *
 * @module
 */

/** The named quirk profiles. */
export type QuirkName = "ice" | "nvidia-vgpu";

/**
 * The quirk profile for a device: `ice` for Intel's ice-vfio-pci,
 * `nvidia-vgpu` for NVIDIA's vGPUs, null for a driver that follows the header's rules.
 *
 * @example
 * ```ts
 * import { quirkFor } from "./quirk.ts";
 * import assert from "node:assert/strict";
 *
 * assert.equal(quirkFor({ driver: "ice-vfio-pci", mdevType: null }), "ice");
 * assert.equal(quirkFor({ driver: "vfio_mdev", mdevType: "nvidia-63" }), "nvidia-vgpu");
 * ```
 */
export function quirkFor(
  identity: { readonly driver: string | null; readonly mdevType: string | null },
): QuirkName | null {
  const driver = identity.driver?.replaceAll("_", "-") ?? "";
  if (driver === "ice-vfio-pci") return "ice";
  if (driver === "nvidia-vgpu-vfio" || driver === "nvidia") return "nvidia-vgpu";
  return /^nvidia-[0-9]+$/.test(identity.mdevType ?? "") ? "nvidia-vgpu" : null;
}
