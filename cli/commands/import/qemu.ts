/**
 * `vfiokit import qemu`: a checkpoint of VFIO devices in a migration stream of QEMU's.
 *
 * @module
 */

import { type DeviceIdentity, openCheckpointFile } from "../../../src/checkpoint/mod.ts";
import {
  importedIdentity,
  protocolOfMachine,
  type QemuDevice,
  type QemuStream,
  stateOfDevices,
} from "../../../src/vmm/mod.ts";
import type { Context } from "../../context.ts";
import { readStream, streamDocument, streamLines } from "../../vmm_files/qemu_stream.ts";
import type { ImportQemuArgs } from "../../specs/import.ts";
import { UsageError } from "../../usage_error.ts";
import { begin, chosen, likeIdentity, writeImported } from "./_import.ts";

/** Runs `import qemu`. */
export async function run(args: ImportQemuArgs, context: Context): Promise<number> {
  const { file } = args;
  begin(args, "stream", context);
  await using source = await context.until(openCheckpointFile(file));
  if (!source.seekable) {
    throw new UsageError(`Cannot import "${file}": it is read twice, so it must be a regular file`);
  }
  const stream = await readStream(file, source, context);
  context.set({ stream: streamDocument(stream) });
  if (args.list) {
    context.print(...streamLines(file, stream));
    return 0;
  }
  const devices = chosen(stream.devices, args.names, null);
  const identities = await identitiesOf(stream, devices, args);
  const transactions = stateOfDevices(source.file.fd, devices);
  await writeImported({ devices, identities, transactions }, args, context);
  return 0;
}

async function identitiesOf(
  stream: QemuStream,
  devices: readonly QemuDevice[],
  args: ImportQemuArgs,
): Promise<DeviceIdentity[]> {
  const like = await likeIdentity(args);
  const protocol = args.protocol ?? protocolOfMachine(stream.machine) ?? like?.protocol;
  if (protocol === undefined) {
    throw new UsageError(
      `Cannot tell the protocol: QEMU 7.2 and QEMU 8.0 both have the machine ${
        stream.machine ?? ""
      }. Say it: --protocol v1 if QEMU 7.2 or earlier wrote the file, else --protocol v2; or ` +
        "--like DEVICE",
    );
  }
  return devices.map((device) => importedIdentity(device, { protocol, like }));
}
