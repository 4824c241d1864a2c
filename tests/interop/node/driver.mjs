// Drives the official JavaScript packages by commands, one JSON object a line: {id, on, do, with} is answered by
// {id, result} or {id, error}; what their callbacks are told comes as {event, value}. Bytes are {"$bytes": base64}.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

// The packages are installed elsewhere.
const require = createRequire(`${process.env.TRIO_WEBPUBSUB_NODE_MODULES}/`);
const { WebPubSubClient, WebPubSubJsonProtocol, WebPubSubJsonReliableProtocol } = require("@azure/web-pubsub-client");
const { WebPubSubServiceClient } = require("@azure/web-pubsub");
const { WebPubSubEventHandler } = require("@azure/web-pubsub-express");
const express = require("express");

const protocols = {
  "json.webpubsub.azure.v1": WebPubSubJsonProtocol,
  "json.reliable.webpubsub.azure.v1": WebPubSubJsonReliableProtocol,
};
const here = {};

// On one machine an ack may say no before the client awaits it, which node takes for a reason to end.
process.on("unhandledRejection", () => {});

function write(value) {
  const readable = (_, each) => {
    if (each instanceof ArrayBuffer) return { $bytes: Buffer.from(each).toString("base64") };
    return each;
  };
  process.stdout.write(`${JSON.stringify(value, readable)}\n`);
}

function revive(_, value) {
  if (value === null || typeof value !== "object" || value.$bytes === undefined) return value;
  const bytes = Buffer.from(value.$bytes, "base64");
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
}

function told(event) {
  return (value) => write({ event, value: value ?? null });
}

const commands = {
  async openClient(url, { protocol, ...options }) {
    const client = new WebPubSubClient(url, { ...options, protocol: protocols[protocol]() });
    for (const event of ["connected", "disconnected", "stopped", "rejoin-group-failed"]) {
      client.on(event, told(event));
    }
    client.on("group-message", (given) => told("group-message")(given.message));
    client.on("server-message", (given) => told("server-message")(given.message));
    await client.start();
    here.client = client;
  },

  async invoke(event, data, dataType) {
    return await here.client.invokeEvent(event, data, dataType);
  },

  openService(connectionString, hub) {
    here.service = new WebPubSubServiceClient(connectionString, hub, { allowInsecureConnection: true });
  },

  // A group of the service client.
  async group(name, method, ...rest) {
    const group = here.service.group(name);
    if (method !== "listConnections") return group[method](...rest);
    const pages = [];
    for await (const page of (await group.listConnections(...rest)).byPage()) pages.push(page);
    return pages;
  },

  // A web server whose handler of events answers by what stands in them.
  async openHandler(hub, options) {
    const handler = new WebPubSubEventHandler(hub, {
      ...options,
      handleConnect(request, response) {
        told("connect")({ user: request.context.userId ?? null, claims: request.claims, query: request.queries });
        if (request.context.userId === "mallory") return response.fail(401, "not you");
        response.setState("visits", 1);
        response.success({ groups: ["welcome"], roles: ["webpubsub.sendToGroup"], userId: request.context.userId ?? "guest" });
      },
      handleUserEvent(request, response) {
        const { eventName, states } = request.context;
        told("userEvent")({ eventName, data: request.data, dataType: request.dataType, states });
        if (eventName === "fail") return response.fail(500, "no");
        if (eventName === "quiet") return response.success();
        response.setState("visits", (states.visits ?? 0) + 1);
        const { data, dataType } = request;
        response.success({ json: JSON.stringify, text: String, binary: Buffer.from }[dataType](data), dataType);
      },
      onConnected: (request) => told("handled-connected")(request.context.connectionId),
      onDisconnected: (request) => told("handled-disconnected")(request.context.connectionId),
    });
    const server = express().use(handler.getMiddleware()).listen(0, "127.0.0.1");
    await new Promise((resolve) => server.on("listening", resolve));
    return { port: server.address().port, path: handler.path };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line, revive);
  const target = command.on === null ? commands : here[command.on];
  Promise.resolve()
    .then(() => target[command.do](...command.with))
    .then((result) => write({ id: command.id, result: result ?? null }))
    .catch((error) => {
      const { name, message, statusCode, errorDetail, code } = error;
      write({ id: command.id, error: { name, message, statusCode, errorDetail, code } });
    });
}
process.exit(0);
