/** The bytes of a caller's buffer. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** Memory with a view of the numbers in it, which is made once. */
export class ViewedBytes {
  /** The memory. */
  readonly bytes: Bytes;
  /** The view, from its first byte on. */
  readonly view: DataView;

  /** Views `bytes`. */
  constructor(bytes: Bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }
}
