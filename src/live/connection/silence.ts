/**
 * For how long the other side has said nothing, over one connection or several.
 *
 * One of several may well be silent for long: what is sent goes by the others. So the other side is
 * silent only while all of them are waited for, and it has sent nothing by any.
 */
export class Silence {
  /** The connections. */
  #count: number;
  /** How many of them are waited for. */
  #waiting = 0;
  /** Since when all of them are. */
  #since = 0;

  /** Of so many connections. */
  constructor(count = 1) {
    this.#count = count;
  }

  /** Its milliseconds; 0 if something of what came is still being dealt with. */
  get ms(): number {
    return this.#waiting < this.#count ? 0 : performance.now() - this.#since;
  }

  /** One connection more. */
  add(): void {
    this.#count += 1;
  }

  /** One connection less, from which nothing more is to come. */
  remove(): void {
    this.#count -= 1;
    this.#note();
  }

  /** Waits for what comes by one of the connections. */
  async during<Value>(work: Promise<Value>): Promise<Value> {
    this.#waiting += 1;
    this.#note();
    try {
      return await work;
    } finally {
      this.#waiting -= 1;
    }
  }

  #note(): void {
    if (this.#waiting >= this.#count) this.#since = performance.now();
  }
}
