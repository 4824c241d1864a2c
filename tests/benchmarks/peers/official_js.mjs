// The official JavaScript client: node official_js.mjs SCENARIO URL COUNT SIZE prints seconds.
// Its package is looked for in the current directory.

import { createRequire } from "node:module";

const { WebPubSubClient } = createRequire(process.cwd() + "/")("@azure/web-pubsub-client");

const [scenario, url, countText, sizeText] = process.argv.slice(2);
const count = Number(countText);
const data = "x".repeat(Number(sizeText));
const wanted = scenario === "receive" ? count : 1;
const client = new WebPubSubClient(url, { autoReconnect: false, autoRejoinGroups: false });

let came = 0;
const done = new Promise((resolve) => {
  client.on("group-message", () => {
    came += 1;
    if (came === wanted) resolve();
  });
});
const send = (fireAndForget = false) => client.sendToGroup("lobby", data, "text", { fireAndForget });

await client.start();
const times = [];
const start = performance.now();
if (scenario === "receive") {
  await client.sendToGroup("go", "go", "text", { fireAndForget: true });
  await done;
} else if (scenario === "ack_each") {
  for (let i = 0; i < count; i++) {
    const begin = performance.now();
    await send();
    times.push(performance.now() - begin);
  }
} else if (scenario === "ack_many") {
  const some = async () => {
    for (let i = 0; i < count / 100; i++) await send();
  };
  await Promise.all(Array.from({ length: 100 }, some));
} else {
  for (let i = 0; i < count; i++) await send(true);
  await done;
}
const seconds = (performance.now() - start) / 1000;
console.log(scenario === "ack_each" ? times.sort((a, b) => a - b)[count >> 1] / 1000 : seconds);
process.exit(0);
