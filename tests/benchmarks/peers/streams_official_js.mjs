// Streams of the official JavaScript client: node streams_official_js.mjs SCENARIO URL COUNT SIZE prints seconds.
// Its package is looked for in the current directory.

import { createRequire } from "node:module";

const { WebPubSubClient } = createRequire(process.cwd() + "/")("@azure/web-pubsub-client");

const [scenario, url, countText, sizeText] = process.argv.slice(2);
const count = Number(countText);
const data = "x".repeat(Number(sizeText));
const client = new WebPubSubClient(url, { autoReconnect: false, autoRejoinGroups: false });

await client.start();
let start;
if (scenario === "write") {
  const done = new Promise((resolve) => client.on("group-message", resolve));
  start = performance.now();
  const stream = await client.openGroupStream("lobby", { streamId: "s" });
  for (let i = 0; i < count; i++) await stream.write(data, "text");
  await stream.end();
  await done;
} else {
  let came = 0;
  const done = new Promise((resolve, reject) => {
    client.onGroupStream(async (stream) => {
      for await (const _ of stream) came += 1;
      if (came === count) resolve();
      else reject(new Error(`${came} fragments came`));
    });
  });
  start = performance.now();
  await client.sendToGroup("go", "go", "text", { fireAndForget: true });
  await done;
}
console.log((performance.now() - start) / 1000);
process.exit(0);
