import { it } from "node:test";
import { askMtty } from "../migration/v2_cases/mtty.ts";
import { V2Client } from "./_v2_client.ts";

it("the simulated mtty answers like the kernel's mtty", () => {
  using client = V2Client.of("mtty?size=64KiB");
  askMtty(client);
});
