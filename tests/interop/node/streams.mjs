// Drives the streams of official JavaScript clients by commands, one JSON object a line: {id, do, with} is answered by
// {id, result} or {id, error}; what callbacks are told comes as {event, value}. Bytes are {"$bytes": base64}.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

// The packages are installed elsewhere.
const require = createRequire(`${process.env.TRIO_WEBPUBSUB_NODE_MODULES}/`);
const { WebPubSubClient, WebPubSubJsonProtocol, WebPubSubJsonReliableProtocol } = require("@azure/web-pubsub-client");

const clients = {};
const streams = {};

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

function told(event, value) {
  write({ event, value });
}

const commands = {
  async openClient(name, url, reliable) {
    const protocol = reliable ? WebPubSubJsonReliableProtocol() : WebPubSubJsonProtocol();
    const client = new WebPubSubClient(url, { protocol });
    client.on("group-message", ({ message }) => told("message", { data: message.data, sequenceId: message.sequenceId }));
    const connected = new Promise((resolve) => client.on("connected", resolve));
    await client.start();
    clients[name] = client;
    return (await connected).connectionId;
  },

  async join(name, group) {
    await clients[name].joinGroup(group);
  },

  // Tells of each stream, of its fragments and how it ended.
  listen(name, options) {
    clients[name].onGroupStream(async (stream) => {
      const id = stream.streamId;
      told("stream", { id, group: stream.groupName });
      try {
        for await (const { data, dataType, fromUserId, stream: info } of stream) {
          told("fragment", { id, data, dataType, user: fromUserId, number: info.streamSequenceId });
        }
        told("ended", { id, error: null });
      } catch (error) {
        const { name: kind, message, userErrorCode } = error;
        told("ended", { id, error: { name: kind, message, userErrorCode } });
      }
    }, options);
  },

  async openStream(name, group, options) {
    const stream = await clients[name].openGroupStream(group, options);
    stream.onError(({ name: kind, message }) => told("stream-error", { id: stream.streamId, name: kind, message }));
    streams[stream.streamId] = stream;
    return stream.streamId;
  },

  async write(id, data, dataType) {
    await streams[id].write(data, dataType);
  },

  // Without waiting in between, as fast as the client takes them.
  async writeNumbers(id, count) {
    for (let number = 0; number < count; number++) await streams[id].write(number, "json");
  },

  async end(id) {
    await streams[id].end();
  },

  async abort(id, error) {
    await streams[id].abort(error);
  },

  async stop(name) {
    const stopped = new Promise((resolve) => clients[name].on("stopped", resolve));
    clients[name].stop();
    await stopped;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line, revive);
  Promise.resolve()
    .then(() => commands[command.do](...command.with))
    .then((result) => write({ id: command.id, result: result ?? null }))
    .catch(({ name, message }) => write({ id: command.id, error: { name, message, errorDetail: { name } } }));
}
process.exit(0);
