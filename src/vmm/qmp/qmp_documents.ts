/**
 * What a monitor sends, taken apart: a JSON object a line.
 */

/** An object that a monitor sent. */
export type QmpDocument = Readonly<Record<string, unknown>>;

/** The longest line that is taken, in UTF-16 code units. */
const MOST_LINE = 1 << 20;

/** The bytes are no QMP: a line is too long, or is no JSON object. */
export class NoQmp extends Error {}

/** Takes bytes in any pieces, and gives objects. Holds no more than a line and a piece. */
export class QmpDocuments {
  readonly #decoder = new TextDecoder();
  #text = "";

  /** Takes bytes. */
  push(bytes: Uint8Array): void {
    this.#text += this.#decoder.decode(bytes, { stream: true });
  }

  /**
   * The next object; null if more bytes are needed.
   *
   * @throws {NoQmp} If the bytes are no QMP.
   */
  next(): QmpDocument | null {
    for (;;) {
      const end = this.#text.indexOf("\n");
      if (end > MOST_LINE || (end < 0 && this.#text.length > MOST_LINE)) throw new NoQmp();
      if (end < 0) return null;
      const line = this.#text.slice(0, end);
      this.#text = this.#text.slice(end + 1);
      if (line.trim() !== "") return parse(line);
    }
  }
}

/** Deeply nested text ends in an error of the parser's, as every other that is no object. */
function parse(line: string): QmpDocument {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new NoQmp();
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new NoQmp();
  return value as QmpDocument;
}
