/**
 * Restores a checkpoint of devices and their memory from the chain that it is in.
 *
 * @module
 */

import { type Chunks, chunksOf } from "../../base/chunks.ts";
import { cleanlyAsync } from "../../base/cleanup.ts";
import { openCheckpointFile } from "../../checkpoint/file/open_checkpoint_file.ts";
import { Device } from "../../migration/device.ts";
import { ask } from "../../migration/thread/session_client.ts";
import { demandIdentity } from "../../transfer/identity/demand_identity.ts";
import { Lockstep } from "../../transfer/lockstep.ts";
import type { DeviceReport } from "../../transfer/report.ts";
import { RestoreSteps } from "../../transfer/restore_steps.ts";
import { FrameReceiver, type FrameSource, type ReceivedBytes } from "../frame_receiver.ts";
import { type ChainProgress, sameMemory, type VerifiedChain } from "./verify_chain.ts";

/** How to restore a chain. */
export interface RestoreChainOptions {
  /** What the devices do afterwards; default `running`. */
  readonly leave?: "running" | "stop" | undefined;
  /** Restores devices of another kind, too, if the driver takes it. Default false. */
  readonly force?: boolean | undefined;
  /** Ends it; once begun, that resets the devices. */
  readonly signal?: AbortSignal | undefined;
  /** Is called at least once a frame. What it throws ends the work. */
  readonly onProgress?: ((progress: ChainProgress) => void) | undefined;
}

/** How it went. */
export interface RestoreChainReport {
  /** The number of the checkpoint. */
  readonly number: number;
  /** How many checkpoints were read: the full one, and those that build on it. */
  readonly links: number;
  /** How long it took, in seconds. */
  readonly seconds: number;
  /** What the devices and their memory were given. */
  readonly bytes: ReceivedBytes;
  /** The devices. */
  readonly devices: readonly DeviceReport[];
}

/**
 * Restores devices and their memory to a checkpoint of a chain, from {@linkcode verifyChain}: its
 * memory from the full checkpoint on, its device data of the checkpoint itself. The devices must
 * have been opened with its memory mapped (`maps`); see {@linkcode CheckpointChain} for an example.
 *
 * @param devices One device, or several in the order of the checkpoint.
 * @throws {TypeError} If a device has other memory than the checkpoint; nothing was touched.
 * @throws {TransferError} With what failed, and the state of each device.
 */
export async function restoreChain(
  devices: Device | readonly Device[],
  chain: VerifiedChain,
  options: RestoreChainOptions = {},
): Promise<RestoreChainReport> {
  const list = devices instanceof Device ? [devices] : devices;
  const begun = performance.now();
  const bytes = { memory: 0, device: 0 };
  let read = 0;
  using lockstep = new Lockstep("restore", list, options.signal);
  const steps = new RestoreSteps(lockstep);
  try {
    await lockstep.look();
    await lockstep.step(({ device }) => ask(device, "checkRestore"));
    demandIdentity(chain.header, list, options.force ?? false);
    demandMemory(chain, list);
    lockstep.touch();
    // First: devices that run write to memory.
    await steps.begin();
    for (const file of chain.files) {
      const taken = await take(file, lockstep, {
        memoryOnly: file !== chain.files.at(-1),
        tell: (bytes) =>
          options.onProgress?.({ storedBytes: read + bytes, totalBytes: chain.storedBytes }),
      });
      bytes.memory += taken.bytes.memory;
      bytes.device += taken.bytes.device;
      read += taken.received;
    }
    await steps.end(options.leave ?? "running");
  } catch (error) {
    throw await lockstep.failure(error, (member) => steps.recoveryMode(member));
  }
  const reports = await lockstep.reports(() => ({ phases: [], seconds: 0 }));
  return {
    number: chain.number,
    links: chain.files.length,
    seconds: (performance.now() - begun) / 1000,
    bytes,
    devices: reports.devices,
  };
}

function demandMemory({ memory }: VerifiedChain, devices: readonly Device[]): void {
  const own = devices.map(({ description }) => ({ ranges: description.mappings }));
  if (sameMemory(memory, own)) return;
  throw new TypeError("The devices were opened with other memory than that of the checkpoint");
}

/** Gives what a file holds to the devices. */
function take(
  path: string,
  lockstep: Lockstep,
  { memoryOnly, tell }: {
    readonly memoryOnly: boolean;
    readonly tell: (bytes: number) => void;
  },
): Promise<{ readonly bytes: ReceivedBytes; readonly received: number }> {
  return cleanlyAsync(async () => {
    await using source = await openCheckpointFile(path);
    const chunks = chunksOf(source);
    try {
      const receiver = new FrameReceiver(new FileFrames(chunks, tell), lockstep, { memoryOnly });
      await receiver.rest();
      const { bytes, received } = receiver;
      tell(received);
      return { bytes, received };
    } catch (error) {
      chunks.cancel(error);
      throw error;
    }
  });
}

/** Frames out of a file. */
class FileFrames implements FrameSource {
  readonly #chunks: Chunks;
  readonly #tell: (bytes: number) => void;
  #rest: Uint8Array = new Uint8Array(0);
  #taken = 0;

  /** `tell` is told how many bytes were taken, each time before more are. */
  constructor(chunks: Chunks, tell: (bytes: number) => void) {
    this.#chunks = chunks;
    this.#tell = tell;
  }

  async read(into: Uint8Array): Promise<number> {
    this.#tell(this.#taken);
    while (this.#rest.length === 0) {
      const { done, value } = await this.#chunks.next();
      if (done) return 0;
      this.#rest = value;
    }
    const taken = this.#rest.subarray(0, into.length);
    into.set(taken);
    this.#rest = this.#rest.subarray(taken.length);
    this.#taken += taken.length;
    return taken.length;
  }
}
