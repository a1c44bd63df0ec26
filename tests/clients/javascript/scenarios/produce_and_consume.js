// sqs-producer sends two hundred messages; sqs-consumer handles them in batches.

import { Consumer } from "sqs-consumer";
import { Producer } from "sqs-producer";
import { left, newQueue, sqs, tell } from "./client.js";

const COUNT = 200;
const queueUrl = await newQueue("produced");
// Without a client of ours, the producer makes one that has the queue's URL as its endpoint.
const producer = Producer.create({ queueUrl });
const sent = await producer.send(
  Array.from({ length: COUNT }, (_, number) => ({
    id: `message-${number}`,
    body: `body ${number}`,
    messageAttributes: { parity: { DataType: "String", StringValue: String(number % 2) } },
  })),
);
const size = await producer.queueSize();

const bodies = [];
const batches = [];
const errors = [];
await new Promise((resolve) => {
  const consumer = Consumer.create({
    queueUrl,
    sqs,
    batchSize: 10,
    waitTimeSeconds: 1,
    messageAttributeNames: ["parity"],
    handleMessageBatch: async (messages) => {
      batches.push(messages.length);
      for (const message of messages) {
        const parity = message.MessageAttributes.parity.StringValue;
        bodies.push(`${message.Body} ${parity}`);
      }
      return messages;
    },
  });
  consumer.on("error", (error) => errors.push(error.message));
  consumer.on("processing_error", (error) => errors.push(error.message));
  consumer.on("empty", () => {
    consumer.stop();
    resolve();
  });
  consumer.start();
});

tell({
  sent: sent.length,
  size,
  bodies: bodies.sort(),
  "largest batch": Math.max(...batches),
  errors,
  left: await left(queueUrl),
});
