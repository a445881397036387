/**
 * The uncompressed kernel inside a bzImage (Documentation/x86/boot.rst): QEMU
 * starts it directly (PVH), which saves the emulator the decompression.
 *
 * @module
 */

const HEADER_MAGIC = 0x53726448; // "HdrS"

/** The compressed payload of a bzImage. */
export function bzImagePayload(image: Uint8Array): Uint8Array {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  if (image.length < 0x260 || view.getUint32(0x202, true) !== HEADER_MAGIC) {
    throw new Error("Cannot read the kernel image: it is not a bzImage");
  }
  const setupSectors = view.getUint8(0x1f1) || 4;
  const start = (setupSectors + 1) * 512 + view.getUint32(0x248, true);
  const end = start + view.getUint32(0x24c, true);
  if (end > image.length) {
    throw new Error("Cannot read the kernel image: its payload ends behind the image");
  }
  // The last four bytes are the uncompressed size, not part of the stream.
  return image.subarray(start, end - 4);
}
