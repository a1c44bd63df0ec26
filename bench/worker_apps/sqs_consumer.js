// Consumers of bbc/sqs-consumer with a handler that does nothing: `node sqs_consumer.js COUNT`.

import { SQSClient } from "@aws-sdk/client-sqs";
import { Consumer } from "sqs-consumer";

const sqs = new SQSClient({});
const consumers = Array.from({ length: Number(process.argv[2]) }, () =>
  Consumer.create({
    queueUrl: process.env.QUEUE_URL,
    sqs,
    batchSize: 10,
    waitTimeSeconds: 20,
    // What it returns is deleted, in one call.
    handleMessageBatch: async (messages) => messages,
  }),
);
for (const consumer of consumers) {
  consumer.on("error", (error) => console.error(error));
  consumer.on("processing_error", (error) => console.error(error));
  consumer.start();
}
