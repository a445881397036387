import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { describe, it } from "node:test";

const root = path.join(import.meta.dirname!, "..");
const deno = JSON.parse(fs.readFileSync(path.join(root, "deno.json"), "utf8"));
const npm = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8"));

/** The layers that are front doors, beside mod.ts and the command line. */
const LAYERS = [
  "uapi",
  "kernel",
  "trace",
  "sim",
  "vfio",
  "server",
  "checkpoint",
  "dirty",
  "check",
  "live",
  "vmm",
];

/** How many names a user has to look through who saves, restores and probes devices. */
const MOST_NAMES = 50;

/** What each front door exports. `./uapi` has the kernel's headers; tests/uapi holds those. */
const DOORS: Readonly<Record<string, string>> = {
  ".": `
    BusyError CheckpointError CheckpointFileError CheckpointSink Device DeviceClosedError
    DirtyTracking DriverNote Hint IdentityError MigrationError
    OpenDevices OpenError OpenOptions PrecopyOptions Progress ReadBackError Recovery Remedy
    RestoreOptions RestoreSource SaveOptions SaveReport StateName StateReport ThreadError Transaction
    TransferError TransferProgress TransferReport UnsupportedError VERSION VfiokitError checkIdentity cleanupErrors
    createCheckpointFile firstError openCheckpointFile openDevice openDevices precopy printable
    probe restore resume save serveDevice stopAndCopy verifyCheckpoint
  `,
  "./kernel": `
    ClosedError ERRNO ErrnoName FIONBIO Fd Kernel MAP_ANONYMOUS MAP_HUGETLB MAP_PRIVATE
    MAP_SHARED MFD_CLOEXEC MFD_HUGETLB Mapping MmapOptions O_CLOEXEC O_NONBLOCK O_RDONLY O_RDWR
    O_WRONLY POLLERR POLLHUP POLLIN POLLOUT PROT_READ PROT_WRITE ReceivedMessage SysError
    errnoName errnoText isErrno libcKernel openFds
  `,
  "./trace": `
    AccessLine BegunCall CallTimes DeviceTimeline MemoryTrace PendingPoint ReadTrace ReplayError ReplayErrorCode
    ReplayErrorInfo ReplayedCalls SharedTrace StateSpan TRACE_SCHEMA Trace TraceEnd TraceError
    TraceErrorCode TraceEvent TraceFields TraceFileError TraceHeader TraceKernel TraceKernelOptions
    TraceOptions TraceSink TraceThread TraceValue TracedCall TracedData endTrace formatCall
    perfettoJson readTrace replayTrace timelineOf traceTo
  `,
  "./sim": `
    BugName DmaPattern Fault FaultName MdevType OPTIONS OutsideEventfd OutsideMemory PERSONALITIES Personality
    PersonalityName SimDevice SimDma SimKernel SimOption SimSpec SimSpecError parseSimSpec
    simHelp
  `,
  "./vfio": `
    AccessReport AddressSpace AddressSpaceInfo AnswerError BusyError Capability CapabilityDefect
    CapabilityError DataSectionKind DeviceList DeviceName DeviceNameError DirtyReport DmaError DmaMapping
    DmaMemory DmaMemoryOptions DowntimePart DowntimeReport DriverNote DriverNoteCode DriverNoteKind
    DriverNotes DriverRule FeatureDevice FeatureReport Group GroupStatus Holder Ioas Iommufd
    IovaMapping IovaRange LentFds ListOptions ListedDevice MigrationFlag NotedStateReport OpenError OpenVfioOptions OpenVia PciIds
    ProbeOptions ProbeReport Protocol QuirkName Reason ReasonCode Recovery Region RegionType
    SparseArea Standstill StateChange StateName StateReport SysfsDevice SysfsGroup TargetState
    Type1Container Type1Info Type1Migration UnsupportedError V1StateName V2StateName VfioDevice
    VfioIdentity describeRecovery isLost jointStandstill lentFds lentIoas listDevices openVfioDevice openVfioDevices
    parseDeviceName probe readMigrationFlags shellFile shellWord standstill
  `,
  "./server": `ServeOptions Server ServerEvent SocketFileError SocketFileErrorCode ThreadError`,
  "./checkpoint": `
    ChainLink CheckpointDecoder CheckpointError CheckpointErrorCode CheckpointFile
    CheckpointFileError CheckpointFileErrorInfo CheckpointHeader CheckpointInspection
    CheckpointSource CheckpointSummary CheckpointTrailer CreateFileOptions DecodeOptions
    DecodedHeader DeviceIdentity DevicePhaseTimes DeviceTotals EncodeOptions LinkMemory Phase PhaseTimes PhaseTotals ReadBack
    ReadBackError ReadBackErrorInfo ReadBackProgress ReadBackReport ReadableFd Transaction
    VerifyOptions VerifyProgress createCheckpointFile decodeCheckpoint encodeCheckpoint
    inspectCheckpoint newHeader openCheckpointFile verifyCheckpoint
  `,
  "./dirty": `
    AttachedDevice BitmapRange DeviceMemory DirtyBitmap DirtyRange DirtyRangeError DirtyReading
    DirtyRun DirtySession DirtySessionOptions DirtyTracker FORECAST_MAX_ROUNDS Forecast
    ForecastOptions ForecastRound IommufdTracker LogTracker MappedDevice MappedDeviceOptions
    MeasuredRound MemoryFile MemoryOptions MemoryPart ProtectedMemory ProtectedRange RangeToMap ReadOptions
    SessionFds SessionMapping TrackerName TrackingVerdict Type1Tracker UnmapReading WriteProtection
    WriteProtectionError demandPagemapScan forecast
  `,
  "./live": `
    AttachOptions AttachPurpose AttachedOwner Attachment ChainError ChainErrorCode ChainErrorInfo ChainInspection ChainOptions ChainProgress CheckpointChain
    CheckpointDifference CheckpointFiles Connection ConvergenceOptions DataDifference
    DeviceDifference DifferentRange DifferentTransaction DowntimeStep ENTRIES Entry FurtherConnections InspectChainOptions JournalError
    JournalErrorCode JournalView LinkInspection LinkReport ListenOptions LiveError LiveErrorCode
    MigrateOptions MigrateProgress MigrateReport OpenReceiving Order Owner OwnerOptions OwnerWrites OwnersDevice ProcessId
    ReceiveOptions ReceiveProgress ReceiveReport Received ReceivedBytes Resolution ResolveOptions
    RestoreChainOptions RestoreChainReport Round SentBytes SharedSocket Side StopStep StreamOptions TcpAddress TcpError
    TcpErrorCode TcpListener TcpOptions TlsFiles TlsIdentity UnixListenOptions UnixListener
    VerifiedChain VerifyChainOptions addDecision connectFd connectProgram connectTcp connectUnix demandMigration diffCheckpoints fingerprint
    formatTcpAddress generateKeys inspectChain journalPath linkFile migrate parseTcpAddress readIdentity
    readJournal receive resolve restoreChain streamConnection verifyChain
  `,
  "./check": `
    Attempt BenchOptions CHECKS Check CheckContext CheckError CheckErrorCode CheckInfo
    CheckOptions CheckPlan CheckRun CheckedDevice CheckedFds Finding GROUPS Needs Outcome
    RULES Register Rule SAFETY_LEVELS Safety SecondCommand SecondThread SecondThreadResult Selectable Selection
    SetAnswer Steps Stream ThreadError UNCHECKED V1Device
    V1Transaction V2Device Verdict attempt check defineCheck rule selectChecks
  `,
  "./vmm": `
    BlobText CloudHypervisorDevice CloudHypervisorSnapshot ConfiguredDevice DeviceInFile
    ImportedDevice PausedVmError PausedVmErrorCode PausedVmReport ProcessDevice ProcessDeviceError
    ProcessDeviceErrorCode QemuDevice QemuStream QmpClient QmpError QmpErrorCode QmpOptions
    ReadSnapshotOptions ReadStreamOptions RepairOptions RepairReport StateRecord StateReplacement VmmFileError
    VmmFileErrorCode fileChunks importedIdentity isProcessDevice isQemuStream protocolOfMachine
    readCloudHypervisorConfig readCloudHypervisorSnapshot readQemuStream repairVm replaceState
    stateOfDevices stateOfSnapshot whilePaused
  `,
};

/** The names that a module re-exports, types included. */
function exportedNames(file: string): string[] {
  const text = fs.readFileSync(path.join(root, file), "utf8");
  assert.doesNotMatch(text, /^export (?:type )?\*/m, `${file} lists what it exports`);
  return [...text.matchAll(/^export (?:type )?\{([^}]*)\}/gm)]
    .flatMap(([, list]) => list!.split(",").map((name) => name.trim().replace(/^type /, "")))
    .filter((name) => name !== "")
    .sort();
}

describe("deno.json", () => {
  const doors = LAYERS.map((layer) => [`./${layer}`, `./src/${layer}/mod.ts`]);

  it("exports the front doors, and nothing else", () => {
    const expected = Object.fromEntries([
      [".", "./mod.ts"],
      ...doors,
      ["./cli", "./cli/main.ts"],
    ]);
    assert.deepEqual(deno.exports, expected);
  });

  it("maps each front door to its name in npm, for the examples, and to that in JSR", () => {
    const named = (name: string): Record<string, string> =>
      Object.fromEntries([
        [name, "./mod.ts"],
        ...doors.map(([door, file]) => [`${name}${door!.slice(1)}`, file]),
      ]);
    const own = Object.entries(deno.imports as Record<string, string>).filter(([, target]) =>
      !target.startsWith("npm:")
    );
    assert.deepEqual(Object.fromEntries(own), { ...named(npm.name), ...named(deno.name) });
  });

  it("has the version and the packages that package.json has", async () => {
    const { VERSION } = await import("../src/base/version.ts");
    assert.equal(deno.version, npm.version);
    assert.equal(deno.version, VERSION);
    const imports = Object.entries(deno.imports as Record<string, string>)
      .filter(([, target]) => target.startsWith("npm:"));
    const packages: Record<string, string> = { ...npm.dependencies, ...npm.devDependencies };
    for (const [, target] of imports) {
      const match = /^npm:\/?((?:@[^/]+\/)?[^@/]+)@([^/]+)/.exec(target);
      assert.ok(match, target);
      assert.equal(packages[match[1]!], match[2], target);
    }
  });
});

describe("package.json", () => {
  it("has the front doors that deno.json has", () => {
    assert.deepEqual(npm.exports, deno.exports);
  });
});

describe("a front door", () => {
  for (const [door, names] of Object.entries(DOORS)) {
    it(`exports what is listed here: ${door}`, () => {
      assert.deepEqual(
        exportedNames(path.normalize(deno.exports[door])),
        names.trim().split(/\s+/),
      );
    });
  }

  it(`has at most ${MOST_NAMES} names if it is the first`, () => {
    assert.ok(exportedNames("mod.ts").length <= MOST_NAMES);
  });
});
