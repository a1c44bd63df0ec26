// sqs-producer sends to three groups, twice; two consumers handle each group in its order.

import { Consumer } from "sqs-consumer";
import { Producer } from "sqs-producer";
import { left, newQueue, sleep, sqs, tell, until } from "./client.js";

const queueUrl = await newQueue("orders.fifo", { FifoQueue: "true" });
const producer = Producer.create({ queueUrl, sqs });
const messages = Array.from({ length: 60 }, (_, number) => ({
  id: String(number),
  body: String(number),
  groupId: `section-${number % 3}`,
  deduplicationId: `order-${number}`,
}));
await producer.send(messages);
await producer.send(messages);

const groups = {};
let busyGroups = new Set();
let overlaps = 0;
const consumers = Array.from({ length: 2 }, () =>
  Consumer.create({
    queueUrl,
    sqs,
    batchSize: 1,
    waitTimeSeconds: 1,
    suppressFifoWarning: true,
    attributeNames: ["MessageGroupId"],
    handleMessage: async (message) => {
      const group = message.Attributes.MessageGroupId;
      overlaps += busyGroups.has(group) ? 1 : 0;
      busyGroups.add(group);
      await sleep(5);
      (groups[group] ??= []).push(Number(message.Body));
      busyGroups.delete(group);
      return message;
    },
  }),
);
const errors = [];
for (const consumer of consumers) {
  consumer.on("error", (error) => errors.push(error.message));
  consumer.on("processing_error", (error) => errors.push(error.message));
}
consumers.forEach((consumer) => consumer.start());
// A message is removed some time after its handler has ended.
await until(async () => errors.length > 0 || String(await left(queueUrl)) === "0,0");
consumers.forEach((consumer) => consumer.stop());

tell({ groups, overlaps, errors, left: await left(queueUrl) });
