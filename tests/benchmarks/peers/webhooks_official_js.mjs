// The official JavaScript handler: node webhooks_official_js.mjs ORIGIN prints its port, and serves until stdin ends.
// Its packages are looked for in the current directory. It checks no signatures.

import { createRequire } from "node:module";

const require = createRequire(process.cwd() + "/");
const express = require("express");
const { WebPubSubEventHandler } = require("@azure/web-pubsub-express");

const handler = new WebPubSubEventHandler("chat", {
  path: "/api/webpubsub/hubs/chat",
  allowedEndpoints: [`https://${process.argv[2]}`],
  handleUserEvent(req, res) {
    res.success(JSON.stringify(req.data), req.dataType);
  },
});
const app = express();
app.use(handler.getMiddleware());
const server = app.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.on("end", () => process.exit(0)).resume();
