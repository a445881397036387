/** A real browser without a window: Debian's chromium, driven by the DevTools protocol. */

import { Buffer } from "node:buffer";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";

const PROGRAM = "chromium";

/** How long the browser may take to start, in milliseconds. */
const START_MS = 60_000;
/** How long it may take to end. */
const END_MS = 10_000;

/**
 * Why there is no browser to test with; null where there is one. Root on Debian
 * gets one, as in CI.
 */
export function whyNoBrowser(): string | null {
  if (whyNotHere() === null) return null;
  if (process.getuid?.() === 0) {
    for (const words of [["update"], ["install", "-y", "--no-install-recommends", PROGRAM]]) {
      spawnSync("apt-get", ["-qq", ...words], {
        stdio: "ignore",
        env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
      });
    }
  }
  return whyNotHere();
}

function whyNotHere(): string | null {
  const { error, status, stderr } = spawnSync(PROGRAM, ["--version"], { encoding: "utf8" });
  if (error !== undefined) {
    return `no "${PROGRAM}" here (${error.message}): apt-get install --no-install-recommends chromium`;
  }
  return status === 0 ? null : `"${PROGRAM} --version" fails: ${stderr}`;
}

/** What a page looks like to its reader. */
export interface View {
  /** Pixels. */
  readonly width: number;
  /** Pixels. */
  readonly height: number;
  /** What the reader prefers. */
  readonly scheme: "light" | "dark";
  /** Whether it is a phone. */
  readonly mobile?: boolean;
}

/** What the browser says without being asked. */
interface Event {
  readonly method: string;
  // deno-lint-ignore no-explicit-any
  readonly params: any;
}

/** One page in a browser of its own. */
export class Page implements AsyncDisposable {
  /** Everything that the console, the log and uncaught errors said. */
  readonly complaints: string[] = [];
  /** Every address that was asked for. */
  readonly requests: string[] = [];
  readonly #browser: ChildProcess;
  readonly #socket: WebSocket;
  readonly #profile: string;
  readonly #answers = new Map<number, (message: { result?: unknown; error?: unknown }) => void>();
  readonly #waiting: { method: string; heard: () => void }[] = [];
  #calls = 0;
  #session = "";

  private constructor(browser: ChildProcess, socket: WebSocket, profile: string) {
    this.#browser = browser;
    this.#socket = socket;
    this.#profile = profile;
    socket.addEventListener("message", ({ data }) => this.#heard(JSON.parse(String(data))));
  }

  /** Starts a browser and opens a file in it. */
  static async open(file: string, view: View): Promise<Page> {
    const profile = mkdtempSync(join(tmpdir(), "vfiokit-chromium-"));
    const browser = spawn(PROGRAM, [
      ...["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"],
      ...[
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
      ],
      ...["--remote-debugging-port=0", `--user-data-dir=${profile}`, "about:blank"],
    ], { stdio: ["ignore", "ignore", "pipe"] });
    let page: Page | undefined;
    try {
      const socket = new WebSocket(await listening(browser));
      await new Promise((resolve, reject) => {
        socket.addEventListener("open", resolve);
        socket.addEventListener("error", () => reject(new Error("Cannot reach the browser")));
      });
      page = new Page(browser, socket, profile);
      await page.#attach();
      await page.look(view);
      await page.go(file);
      return page;
    } catch (error) {
      if (page !== undefined) page.#socket.close();
      browser.kill("SIGKILL");
      await end(browser, profile);
      throw error;
    }
  }

  /** Changes how the page looks to its reader. */
  async look({ width, height, scheme, mobile = false }: View): Promise<void> {
    await this.#call("Emulation.setDeviceMetricsOverride", {
      width,
      height,
      mobile,
      deviceScaleFactor: mobile ? 2 : 1,
    });
    await this.#call("Emulation.setEmulatedMedia", {
      features: [{ name: "prefers-color-scheme", value: scheme }],
    });
  }

  /** What an expression comes to in the page, two frames later than now. */
  async evaluate<T>(expression: string): Promise<T> {
    const settled = "new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))";
    const { result, exceptionDetails } = await this.#call("Runtime.evaluate", {
      expression: `${settled}.then(() => (${expression}))`,
      awaitPromise: true,
      returnByValue: true,
    });
    if (exceptionDetails !== undefined) throw new Error(exceptionDetails.exception.description);
    return result.value;
  }

  /** Moves the mouse there, in pixels of the page's top left part. */
  async point(x: number, y: number): Promise<void> {
    await this.#call("Input.dispatchMouseEvent", { type: "mouseMoved", x, y });
  }

  /** A picture of the whole page: a PNG file. */
  async screenshot(): Promise<Uint8Array> {
    const height = await this.evaluate<number>("document.documentElement.scrollHeight");
    const width = await this.evaluate<number>("document.documentElement.clientWidth");
    const { data } = await this.#call("Page.captureScreenshot", {
      captureBeyondViewport: true,
      clip: { x: 0, y: 0, width, height, scale: 1 },
    });
    return Buffer.from(data, "base64");
  }

  /** Ends the browser. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#call("Browser.close");
    this.#socket.close();
    await end(this.#browser, this.#profile);
  }

  async #attach(): Promise<void> {
    const { targetInfos } = await this.#call("Target.getTargets");
    const { targetId } = targetInfos.find(({ type }: { type: string }) => type === "page");
    const { sessionId } = await this.#call("Target.attachToTarget", { targetId, flatten: true });
    this.#session = sessionId;
    for (const domain of ["Page", "Runtime", "Log", "Network"]) {
      await this.#call(`${domain}.enable`);
    }
  }

  /** Goes to a file, and waits until it is loaded. */
  async go(file: string): Promise<void> {
    const loaded = new Promise<void>((heard) => {
      this.#waiting.push({ method: "Page.loadEventFired", heard });
    });
    await this.#call("Page.navigate", { url: `file://${file}` });
    await loaded;
  }

  // deno-lint-ignore no-explicit-any
  #call(method: string, params: object = {}): Promise<any> {
    const id = ++this.#calls;
    return new Promise((resolve, reject) => {
      this.#answers.set(id, ({ result, error }) => {
        if (error === undefined) resolve(result);
        else reject(new Error(`${method}: ${JSON.stringify(error)}`));
      });
      const session = this.#session === "" ? {} : { sessionId: this.#session };
      this.#socket.send(JSON.stringify({ id, method, params, ...session }));
    });
  }

  #heard(message: Event & { id?: number }): void {
    if (message.id !== undefined) {
      this.#answers.get(message.id)?.(message as { result?: unknown });
      this.#answers.delete(message.id);
      return;
    }
    const { method, params } = message;
    if (method === "Runtime.consoleAPICalled") this.complaints.push(JSON.stringify(params.args));
    if (method === "Runtime.exceptionThrown") {
      this.complaints.push(JSON.stringify(params.exceptionDetails));
    }
    if (method === "Log.entryAdded") this.complaints.push(params.entry.text);
    if (method === "Network.requestWillBeSent") this.requests.push(params.request.url);
    const heard = this.#waiting.findIndex((waiting) => waiting.method === method);
    if (heard >= 0) this.#waiting.splice(heard, 1)[0]!.heard();
  }
}

/** The address that the browser says it listens at. */
function listening(browser: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = "";
    const timer = setTimeout(
      () => reject(new Error(`The browser did not start: ${said}`)),
      START_MS,
    );
    browser.stderr?.on("data", (chunk: Uint8Array) => {
      said += new TextDecoder().decode(chunk);
      const address = /^DevTools listening on (ws:\S+)$/m.exec(said)?.[1];
      if (address === undefined) return;
      clearTimeout(timer);
      resolve(address);
    });
    browser.once("exit", (code) => {
      clearTimeout(timer);
      reject(new Error(`The browser ended with ${code}: ${said}`));
    });
    browser.once("error", (error) => {
      clearTimeout(timer);
      reject(error);
    });
  });
}

async function end(browser: ChildProcess, profile: string): Promise<void> {
  const running = (): boolean => browser.exitCode === null && browser.signalCode === null;
  const timer = setTimeout(() => browser.kill("SIGKILL"), END_MS);
  if (running()) await new Promise((resolve) => browser.once("exit", resolve));
  clearTimeout(timer);
  await rm(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
}
