/**
 * Live migration: an open device and the memory that its DMA reaches, to another process or host,
 * while it runs. docs/live-migration.md has the protocol.
 *
 * @module
 */

export { AttachedOwner, type AttachOptions, type AttachPurpose } from "./attach/attached_owner.ts";
export type { Attachment, OwnersDevice } from "./attach/attachment.ts";
export type { Owner, OwnerOptions, OwnerWrites } from "./attach/owner.ts";
export { ChainError, type ChainErrorCode, type ChainErrorInfo } from "./chain/chain_error.ts";
export {
  type ChainOptions,
  CheckpointChain,
  type LinkReport,
  type StopStep,
} from "./chain/checkpoint_chain.ts";
export {
  type CheckpointDifference,
  type CheckpointFiles,
  type DataDifference,
  type DeviceDifference,
  diffCheckpoints,
  type DifferentRange,
  type DifferentTransaction,
} from "./chain/diff.ts";
export { linkFile } from "./chain/link_files.ts";
export {
  restoreChain,
  type RestoreChainOptions,
  type RestoreChainReport,
} from "./chain/restore_chain.ts";
export {
  type ChainInspection,
  type ChainProgress,
  inspectChain,
  type InspectChainOptions,
  type LinkInspection,
  type VerifiedChain,
  verifyChain,
  type VerifyChainOptions,
} from "./chain/verify_chain.ts";
export {
  addDecision,
  ENTRIES,
  type Entry,
  journalPath,
  type JournalView,
  readJournal,
  type Side,
} from "./commit/journal.ts";
export { JournalError, type JournalErrorCode } from "./commit/journal_error.ts";
export type { ProcessId } from "./commit/process_id.ts";
export { type Order, type Resolution, resolve, type ResolveOptions } from "./commit/resolve.ts";
export { connectProgram } from "./connection/program.ts";
export { connectFd, connectUnix, UnixListener, type UnixListenOptions } from "./connection/unix.ts";
export { type Connection, type SharedSocket, streamConnection } from "./connection/connection.ts";
export type { ConvergenceOptions, Round } from "./convergence.ts";
export { demandMigration } from "./demand_migration.ts";
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
export type { StreamOptions } from "./streams/further_streams.ts";
export type { FurtherConnections } from "./streams/stream_gate.ts";
export { formatTcpAddress, parseTcpAddress, type TcpAddress } from "./tcp/address.ts";
export { connectTcp, type TcpOptions } from "./tcp/connect.ts";
export {
  fingerprint,
  generateKeys,
  readIdentity,
  type TlsFiles,
  type TlsIdentity,
} from "./tcp/keys.ts";
export { type ListenOptions, TcpListener } from "./tcp/listen.ts";
export { TcpError, type TcpErrorCode } from "./tcp/tcp_error.ts";
