/**
 * Parsing words with help, version, completion and errors the same everywhere.
 *
 * @module
 */

import { formatMessage, map, type Parser, runParser } from "./optique.ts";
import { SHELLS } from "./completion/scripts.ts";
import { Context } from "./context.ts";
import { DONE, USAGE } from "./exit_codes.ts";
import { printable } from "../src/base/printable.ts";
import { formatHelp, type HelpText } from "./help.ts";
import { STDERR, STDOUT, writeText } from "./output/stdio.ts";
import type { Signals } from "./signals.ts";

/** How words are parsed. */
export interface ParseOptions {
  /** The program's name in the help. */
  readonly program: string;
  /** What the user called: the program, or the program with a command. */
  readonly called: string;
  /** What `--version` answers. */
  readonly version: string;
  /** The parts of the help besides arguments and options. */
  readonly help?: HelpText;
  /** Where the help goes; stdout by default. */
  readonly fd?: typeof STDOUT | typeof STDERR;
  /** The signals of this process. */
  readonly signals: Signals;
  /** Whether the commands `help` and `completion` are offered. */
  readonly commands: boolean;
}

/** The outcome if help or an error was printed. */
export interface Parsed {
  /** The exit code. */
  readonly exitCode: number;
  /** What is wrong with the words; left out if they asked for help or the like. */
  readonly mistake?: string;
}

/** The parsed value, or the exit code if help or an error was printed. */
export async function parseWords<T>(
  parser: Parser<"sync", T, unknown>,
  words: readonly string[],
  options: ParseOptions,
): Promise<{ readonly value: T } | Parsed> {
  const parsed = parse(parser, words, options);
  if (!("text" in parsed)) return parsed;
  const { called, signals, fd = STDOUT } = options;
  const context = new Context({ called, schema: "help", json: false, quiet: false, signals });
  context.resultFd = fd;
  const exitCode = await context.conclude(() => {
    context.printColoured(parsed.text.trimEnd());
    return Promise.resolve(DONE);
  });
  return { exitCode };
}

/** A text that was asked for. */
interface Asked {
  readonly text: string;
}

/** The parsed value, the text that was asked for, or the exit code if an error was printed. */
function parse<T>(
  parser: Parser<"sync", T, unknown>,
  words: readonly string[],
  options: ParseOptions,
): { readonly value: T } | Asked | Parsed {
  const { program, called, version } = options;
  const command = options.commands ? { command: true as const } : {};
  const printed: string[] = [];
  const show = (): Asked => ({ text: printed.join("\n") });
  return runParser(map(parser, (value) => ({ value })), program, words, {
    ...options.help,
    help: {
      option: { names: ["-h", "--help"] },
      ...command,
      onShow: (_exitCode, page): Asked => ({ text: formatHelp(program, page) }),
    },
    version: { value: version, option: { names: ["-V", "--version"] }, onShow: show },
    ...(options.commands ? { completion: { command: true, shells: SHELLS, onShow: show } } : {}),
    aboveError: "none",
    stdout: (text) => printed.push(text),
    stderr: () => {},
    onError: (_exitCode, error): Parsed => {
      const lines = formatMessage(error, { quotes: true }).trimEnd().replace("\n\n", "\n").split(
        "\n",
      );
      const what = lines.map(printable).join("\n");
      writeText(STDERR, `${called}: ${what}\nTry "${called} --help".\n`);
      return { exitCode: USAGE, mistake: what };
    },
  });
}
