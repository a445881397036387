/**
 * The man page, made from the command table.
 *
 * @module
 */

import { type DocEntry, formatMessage, formatUsageTerm, getDocPage } from "./optique.ts";
import deno from "../deno.json" with { type: "json" };
import { argumentsFirst } from "./help.ts";
import type { Command } from "./specs/command.ts";
import { EXIT_CODES } from "./exit_codes.ts";
import { BRIEF, COMMANDS, PROGRAM } from "./specs/commands.ts";

/** The man page of the program and all its commands, as roff for man(1). */
export function manPage(): string {
  const lines = [
    `.TH ${PROGRAM.toUpperCase()} 1 "" "${PROGRAM} ${deno.version}" "User Commands"`,
    ".SH NAME",
    `${PROGRAM} \\- ${roff(BRIEF.replace(/\.$/, "").replace(/^S/, "s"))}`,
    ".SH SYNOPSIS",
    ...COMMANDS.flatMap(synopsis),
    ".SH COMMANDS",
    ...COMMANDS.flatMap(section),
    ".SS vfiokit completion SHELL",
    "Print a completion script for bash, zsh, fish, nu or pwsh.",
    ".SS vfiokit help [COMMAND]",
    "Print the help.",
    ".SH SIMULATED DEVICES",
    roff(
      "Wherever a command takes a device, sim:NAME names one on a simulated kernel. To list what can be simulated: vfiokit probe sim:help. vfio-user:SOCKET names one of another process, which serves it by the vfio-user protocol. replay:FILE names a device that answers from a trace; nothing else happens.",
    ),
    ".SH EXIT STATUS",
    ...EXIT_CODES.flatMap(([code, meaning]) => [".TP", `.B ${code}`, roff(meaning)]),
    ".SH ENVIRONMENT",
    ".TP",
    ".B NO_COLOR",
    "If it is set and not empty, vfiokit writes no colours.",
  ];
  return lines.join("\n") + "\n";
}

function synopsis(command: Command, index: number): string[] {
  const line = `${roff(command.name)} ${roff(command.usage)}`.trimEnd();
  return [...(index === 0 ? [] : [".br"]), `.B ${PROGRAM}`, line];
}

function section(command: Command): string[] {
  const page = getDocPage(command.args);
  const entries = page?.sections.flatMap(({ entries }) => entries) ?? [];
  return [
    `.SS ${roff(`${PROGRAM} ${command.name} ${command.usage}`.trimEnd())}`,
    roff(command.brief),
    ...command.details.flatMap((paragraph) => [".PP", roff(paragraph)]),
    ...argumentsFirst(entries).flatMap(entry),
    ...command.examples.flatMap(({ what, line }) => [
      ".PP",
      `Example: ${roff(what)}`,
      ".PP",
      ".nf",
      `    ${roff(line)}`,
      ".fi",
    ]),
    ".PP",
    `Deno permissions: ${roff(command.permissions.join(" ") || "none")}`,
  ];
}

function entry({ term, description }: DocEntry): string[] {
  return [
    ".TP",
    `\\fB${roff(formatUsageTerm(term, { optionsSeparator: ", " }))}\\fR`,
    ...(description === undefined ? [] : [roff(formatMessage(description, { quotes: false }))]),
  ];
}

/** Escapes what roff would interpret. */
function roff(text: string): string {
  return text.replaceAll("\\", "\\e").replaceAll("-", "\\-").replace(/^[.']/, "\\&$&");
}
