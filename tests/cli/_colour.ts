/** What env_test.ts runs in a process of its own, with variables of its own. */

import { mayColour } from "../../cli/env.ts";

const terminal = mayColour({ isTTY: true });
const file = mayColour({ isTTY: false });
console.log(`terminal: ${terminal}, file: ${file}`);
