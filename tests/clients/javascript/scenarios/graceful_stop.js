// A consumer that is stopped in a handler and in a long poll finishes what it has and leaves the
// rest in the queue.

import { Agent } from "node:http";
import { SendMessageCommand, SQSClient } from "@aws-sdk/client-sqs";
import { Consumer } from "sqs-consumer";
import { event, left, newQueue, sleep, sqs, tell, until } from "./client.js";

const queueUrl = await newQueue("stopping");
for (const body of ["first", "second"]) {
  await sqs.send(new SendMessageCommand({ QueueUrl: queueUrl, MessageBody: body }));
}
const finished = [];
const busy = Consumer.create({
  queueUrl,
  sqs,
  batchSize: 1,
  pollingCompleteWaitTimeMs: 10_000,
  handleMessage: async (message) => {
    busy.stop();
    await sleep(500);
    finished.push(message.Body);
    return message;
  },
});
const stopped = event(busy, "stopped");
busy.start();
await stopped;
const afterTheHandler = await left(queueUrl);

const idleUrl = await newQueue("idle");
const httpAgent = new Agent({ keepAlive: true });
const idle = Consumer.create({
  queueUrl: idleUrl,
  sqs: new SQSClient({ requestHandler: { httpAgent } }),
  handleMessage: async (message) => message,
});
idle.on("error", () => {});
const aborted = event(idle, "aborted");
idle.start();
const isPolling = () => Object.keys(httpAgent.sockets).length > 0;
await until(isPolling);
await sleep(500);
idle.stop({ abort: true });
await aborted;
// What arrives after the poll was abandoned must not be handed to it. The broker learns of it from
// the closed connection.
await until(() => !isPolling());
await sqs.send(new SendMessageCommand({ QueueUrl: idleUrl, MessageBody: "late" }));

tell({ finished, "after the handler": afterTheHandler, "after the abort": await left(idleUrl) });
