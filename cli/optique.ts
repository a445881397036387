/**
 * What the command line uses of @optique/core, for all files that use it.
 *
 * Deno looks over node_modules once for each import of a package: imported by each file, it made
 * every start from the sources 0.2 s longer.
 *
 * @module
 */

export {
  argument,
  bash,
  choice,
  command,
  type DocEntry,
  type DocPage,
  type DocPageFormatOptions,
  fish,
  flag,
  formatDocPage,
  formatMessage,
  formatUsageTerm,
  getDocPage,
  type InferValue,
  integer,
  lineBreak,
  map,
  type Message,
  message,
  metavar,
  multiple,
  nu,
  object,
  option,
  optional,
  type OptionName,
  or,
  type Parser,
  type ParserResult,
  pwsh,
  runParser,
  type ShellCompletion,
  string,
  type Suggestion,
  text,
  type Usage,
  type UsageTerm,
  type ValueParser,
  type ValueParserResult,
  withDefault,
  zsh,
} from "@optique/core";
