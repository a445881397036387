/** The registers of a device with `doorbell=1`. */

/** Written to the start of region 2, they make it write `length` bytes to memory, from `value` on. */
export function doorbell(
  address: bigint,
  length: number,
  value: number,
): Uint8Array<ArrayBuffer> {
  const registers = new Uint8Array(16);
  const view = new DataView(registers.buffer);
  view.setBigUint64(0, address, true);
  view.setUint32(8, length, true);
  view.setUint32(12, value, true);
  return registers;
}
