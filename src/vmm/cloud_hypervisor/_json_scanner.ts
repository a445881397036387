/**
 * Scans JSON of any length in pieces, in bounded memory: a visitor is told of each value and of its
 * path, and says which strings it wants the bytes of.
 */

import { VmmFileError } from "../vmm_file_error.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** A kind of value: `atom` is a number, true, false or null. */
export type JsonKind = "object" | "array" | "string" | "atom";

/** Where a value is: the keys of the objects around it, null for an array. */
export type JsonPath = readonly (string | null)[];

/** Takes a string's bytes as they are in the file, escapes and all. */
export interface StringSink {
  /** Some bytes; the first of them is at `offset` in the file. They are good until it returns. */
  write(bytes: Bytes, offset: number): void;
  /** The string has ended. */
  end(offset: number): void;
}

/** Is told of values as they begin. */
export interface JsonVisitor {
  /** A value begins; of a string, returns what takes its bytes, or null to skip them. */
  value(kind: JsonKind, path: JsonPath, offset: number): StringSink | null;
}

/** As deep as the serde_json of cloud-hypervisor goes when it reads a snapshot. */
const MOST_LEVELS = 128;

/** Bytes of a key: a device's id. */
const MOST_KEY = 1024;

/** Characters of a path in a message: its end. */
const MOST_WHERE = 200;

/** Bytes of a number. */
const MOST_ATOM = 64;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

const ATOM = /^(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)$/;

/** Keeps a string up to a length, and makes text of it. */
export class KeptString implements StringSink {
  readonly #what: string;
  readonly #most: number;
  readonly #done: (text: string) => void;
  #bytes: Bytes = new Uint8Array(64);
  #length = 0;

  /**
   * @param what What it is, for messages.
   * @param most The bytes that it may have.
   * @param done Is given the text.
   */
  constructor(what: string, most: number, done: (text: string) => void) {
    this.#what = what;
    this.#most = most;
    this.#done = done;
  }

  write(bytes: Bytes, offset: number): void {
    const length = this.#length + bytes.length;
    if (length > this.#most) {
      const what = `${this.#what} has more than ${this.#most} bytes`;
      throw new VmmFileError("unsupported", offset + this.#most - this.#length, what);
    }
    if (length > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(length, 2 * this.#bytes.length));
      larger.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = larger;
    }
    this.#bytes.set(bytes, this.#length);
    this.#length = length;
  }

  end(offset: number): void {
    let text: string;
    try {
      const content = this.#bytes.subarray(0, this.#length);
      text = JSON.parse(`"${new TextDecoder("utf-8", { fatal: true }).decode(content)}"`);
    } catch {
      throw new VmmFileError("damaged", offset, `${this.#what} is no text of JSON`);
    }
    this.#done(text);
  }
}

/** What may come next. */
type Expected =
  | "a value"
  | "a value or ]"
  | "a key"
  | "a key or }"
  | "a colon"
  | "a comma"
  | "its end";

/** Scans one document. */
export class JsonScanner {
  readonly #visitor: JsonVisitor;
  /** Of each open level, whether it is an object. */
  readonly #levels: boolean[] = [];
  readonly #path: (string | null)[] = [];
  #expected: Expected = "a value";
  /** The string that is being read: whether it is a key or a value, and what takes its bytes. */
  #string: "key" | "value" | null = null;
  #sink: StringSink | null = null;
  /** Whether the byte before was the backslash of an escape. */
  #escaped = false;
  /** The number or word that is being read. */
  #atom = "";
  /** The offset of the piece in the document. */
  #base = 0;

  constructor(visitor: JsonVisitor) {
    this.#visitor = visitor;
  }

  /** Scans a piece. */
  push(bytes: Bytes): void {
    let at = 0;
    // Where the next of each is: looked for once, however many strings there are.
    let [quote, backslash] = [-1, -1];
    while (at < bytes.length) {
      if (this.#string === null) {
        at = this.#token(bytes, at);
        continue;
      }
      if (this.#escaped) {
        this.#sink?.write(bytes.subarray(at, at + 1), this.#base + at);
        this.#escaped = false;
        at++;
        continue;
      }
      if (quote < at) quote = next(bytes, QUOTE, at);
      if (backslash < at) backslash = next(bytes, BACKSLASH, at);
      this.#escaped = backslash < quote;
      const to = this.#escaped ? backslash + 1 : quote;
      if (to > at) this.#sink?.write(bytes.subarray(at, to), this.#base + at);
      at = to;
      if (!this.#escaped && at < bytes.length) this.#endString(this.#base + at++);
    }
    this.#base += bytes.length;
  }

  /** Says that no piece follows. A document that is a number or a word alone has no end. */
  end(): void {
    if (this.#expected === "its end" && this.#string === null) return;
    throw new VmmFileError("truncated", this.#base, `it ends too early${this.#in()}`);
  }

  get #where(): string {
    const where = this.#path.map((key) => key ?? "[]").join("/");
    return where.length > MOST_WHERE ? `…${where.slice(-MOST_WHERE)}` : where;
  }

  #token(bytes: Bytes, at: number): number {
    const byte = bytes[at]!;
    if (isAtom(byte)) {
      this.#addAtom(byte, at);
      return at + 1;
    }
    if (this.#atom !== "") this.#endAtom(this.#base + at);
    if (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) return at + 1;
    const offset = this.#base + at;
    switch (String.fromCharCode(byte)) {
      case "{":
        this.#open(true, offset);
        break;
      case "[":
        this.#open(false, offset);
        break;
      case "}":
        if (this.#expected === "a key or }" || this.#continues(true)) this.#close();
        else throw this.#unexpected(byte, offset);
        break;
      case "]":
        if (this.#expected === "a value or ]" || this.#continues(false)) this.#close();
        else throw this.#unexpected(byte, offset);
        break;
      case ",":
        if (this.#expected !== "a comma") throw this.#unexpected(byte, offset);
        this.#expected = this.#levels.at(-1) === true ? "a key" : "a value";
        break;
      case ":":
        if (this.#expected !== "a colon") throw this.#unexpected(byte, offset);
        this.#expected = "a value";
        break;
      case '"':
        this.#beginString(offset);
        break;
      default:
        throw this.#unexpected(byte, offset);
    }
    return at + 1;
  }

  /** Whether a value has ended, and the level is of this kind. */
  #continues(object: boolean): boolean {
    return this.#expected === "a comma" && this.#levels.at(-1) === object;
  }

  /** A value begins. */
  #begin(kind: JsonKind, offset: number): StringSink | null {
    if (this.#expected !== "a value" && this.#expected !== "a value or ]") {
      const what = `JSON has ${this.#expected} here, and no value${this.#in()}`;
      throw new VmmFileError("damaged", offset, what);
    }
    if (this.#levels.at(-1) === false) this.#path.push(null);
    return this.#visitor.value(kind, this.#path, offset);
  }

  /** A value has ended. */
  #ended(): void {
    if (this.#levels.length === 0) {
      this.#expected = "its end";
      return;
    }
    this.#path.pop();
    this.#expected = "a comma";
  }

  #open(object: boolean, offset: number): void {
    this.#begin(object ? "object" : "array", offset);
    if (this.#levels.length === MOST_LEVELS) {
      throw new VmmFileError("damaged", offset, `it nests deeper than ${MOST_LEVELS} levels`);
    }
    this.#levels.push(object);
    this.#expected = object ? "a key or }" : "a value or ]";
  }

  #close(): void {
    this.#levels.pop();
    this.#ended();
  }

  #beginString(offset: number): void {
    if (this.#expected === "a key" || this.#expected === "a key or }") {
      this.#string = "key";
      this.#sink = new KeptString("a key", MOST_KEY, (key) => this.#path.push(key));
    } else {
      this.#sink = this.#begin("string", offset);
      this.#string = "value";
    }
  }

  #endString(offset: number): void {
    this.#sink?.end(offset);
    const ended = this.#string;
    this.#string = null;
    if (ended === "value") this.#ended();
    else this.#expected = "a colon";
  }

  #addAtom(byte: number, at: number): void {
    if (this.#atom === "") this.#begin("atom", this.#base + at);
    this.#atom += String.fromCharCode(byte);
    if (this.#atom.length > MOST_ATOM) {
      throw new VmmFileError("damaged", this.#base + at, `a number is too long${this.#in()}`);
    }
  }

  #endAtom(offset: number): void {
    if (!ATOM.test(this.#atom)) {
      throw new VmmFileError("damaged", offset, `"${this.#atom}" is no value${this.#in()}`);
    }
    this.#atom = "";
    this.#ended();
  }

  #unexpected(byte: number, offset: number): VmmFileError {
    const what = `JSON has ${this.#expected} here, and not the byte ${byte}${this.#in()}`;
    return new VmmFileError("damaged", offset, what);
  }

  #in(): string {
    return this.#path.length === 0 ? "" : `, in ${this.#where}`;
  }
}

/** Where a byte is next; the length if it is not there. */
function next(bytes: Bytes, byte: number, from: number): number {
  const at = bytes.indexOf(byte, from);
  return at < 0 ? bytes.length : at;
}

/** Whether it is one of those that numbers and words consist of. */
function isAtom(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39 || byte >= 0x61 && byte <= 0x7a || byte === 0x2d ||
    byte === 0x2b || byte === 0x2e || byte === 0x45;
}
