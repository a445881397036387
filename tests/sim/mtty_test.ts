import { test } from "node:test";
import { askMtty } from "../migration/v2_cases/mtty.ts";
import { V2Client } from "./_v2_client.ts";

test("the simulated mtty answers as the kernel's own does", () => {
  using client = V2Client.of("mtty?size=64KiB");
  askMtty(client);
});
