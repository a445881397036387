/** The bytes of a caller's buffer. */
export type Bytes = Uint8Array<ArrayBuffer>;
