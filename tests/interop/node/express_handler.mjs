// The official JavaScript handler library: node express_handler.mjs ORIGIN prints a port, and serves until stdin ends.
// The handlers do what `on_connect` and `on_user_event` of test_express.py do.

import { createRequire } from "node:module";

// The packages are installed elsewhere.
const require = createRequire(`${process.env.TRIO_WEBPUBSUB_NODE_MODULES}/`);
const express = require("express");
const { WebPubSubEventHandler } = require("@azure/web-pubsub-express");

const handler = new WebPubSubEventHandler("chat", {
  allowedEndpoints: [`https://${process.argv[2]}`],
  handleConnect(req, res) {
    switch (req.queries?.do?.[0]) {
      case "change":
        res.setState("n", 1);
        res.success({ userId: req.claims.sub[0] + "!", groups: ["lobby"], roles: ["r"], subprotocol: "q" });
        break;
      case "reject":
        res.fail(401, "no");
        break;
      case "mqtt":
        res.failWith({ mqtt: { code: 0x8a, reason: "out" } });
        break;
      case "throw":
        throw new Error("told to");
      default:
        res.success();
    }
  },
  handleUserEvent(req, res) {
    switch (req.context.eventName) {
      case "echo":
        res.success(req.dataType === "json" ? JSON.stringify(req.data) : req.data, req.dataType);
        break;
      case "count":
        res.setState("n", (req.context.states.n ?? 0) + 1);
        res.success(`${req.context.userId} ${req.context.connectionId}`, "text");
        break;
      case "reject":
        res.fail(400, "no");
        break;
      case "throw":
        throw new Error("told to");
      default:
        res.success();
    }
  },
  onConnected() {},
  onDisconnected() {},
  onGroupJoined() {},
  onGroupLeft() {},
});

const app = express();
app.set("env", "test"); // Express prints what handlers throw in all others
app.use(handler.getMiddleware());
const server = app.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.on("end", () => process.exit(0)).resume();
