/**
 * Live migration: an open device and the memory that its DMA reaches, to another process or host,
 * while it runs. docs/live-migration.md has the protocol.
 *
 * @module
 */

export { type Connection, streamConnection } from "./connection/connection.ts";
export type { ConvergenceOptions, Round } from "./convergence.ts";
export {
  type OpenReceiving,
  receive,
  type Received,
  type ReceiveOptions,
  type ReceiveProgress,
  type ReceiveReport,
} from "./destination.ts";
export type { ReceivedBytes } from "./frame_receiver.ts";
export type { SentBytes } from "./frame_sender.ts";
export { LiveError, type LiveErrorCode } from "./live_error.ts";
export {
  type DowntimeStep,
  migrate,
  type MigrateOptions,
  type MigrateProgress,
  type MigrateReport,
} from "./source.ts";
