/**
 * The completion scripts of the shells.
 *
 * @module
 */

import { bash, fish, nu, pwsh, type ShellCompletion, zsh } from "../optique.ts";

/**
 * Bash takes a colon as the end of a word, and the names of devices have some. The shell's own list
 * is the one place where that can be changed.
 */
const WHOLE_WORDS = 'COMP_WORDBREAKS="${COMP_WORDBREAKS//:/}"\n';

/** The shells, by name. */
export const SHELLS: Record<string, ShellCompletion> = {
  bash: {
    ...bash,
    generateScript: (program, args) => WHOLE_WORDS + bash.generateScript(program, args),
  },
  fish,
  nu,
  pwsh,
  zsh,
};
