// A shop of bbc/sqs-consumer: its handler charges an order, which is a line in a file.

import { appendFileSync, existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import { SQSClient } from "@aws-sdk/client-sqs";
import { Consumer } from "sqs-consumer";

const { JOURNAL, QUEUE_URL, SLOW, SLOW_FROM } = process.env;

function note(event, number) {
  appendFileSync(JOURNAL, `${JSON.stringify([event, number, process.pid])}\n`);
}

const consumer = Consumer.create({
  queueUrl: QUEUE_URL,
  sqs: new SQSClient({}),
  batchSize: 10,
  waitTimeSeconds: 1,
  handleMessage: async (message) => {
    const { number } = JSON.parse(message.Body);
    note("began", number);
    while (number >= Number(SLOW_FROM) && existsSync(SLOW)) {
      await sleep(10);
    }
    await sleep(20);
    note("charged", number);
    return message;
  },
});
consumer.on("error", (error) => console.error(`error: ${error.message}`));
consumer.on("processing_error", (error) => console.error(`processing: ${error.message}`));
consumer.start();
