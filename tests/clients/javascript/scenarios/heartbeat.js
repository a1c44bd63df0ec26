// A handler that outlasts the visibility timeout keeps its message by heartbeats; one that fails
// gives it back at once.

import { SendMessageCommand } from "@aws-sdk/client-sqs";
import { Consumer } from "sqs-consumer";
import { event, left, newQueue, receive, sleep, sqs, tell } from "./client.js";

const TIMEOUT_S = 4;
const queueUrl = await newQueue("slow", { VisibilityTimeout: String(TIMEOUT_S) });
await sqs.send(new SendMessageCommand({ QueueUrl: queueUrl, MessageBody: "takes its time" }));
const seenByOthers = [];
let handled = 0;
const slow = Consumer.create({
  queueUrl,
  sqs,
  visibilityTimeout: TIMEOUT_S,
  heartbeatInterval: 0.5,
  waitTimeSeconds: 0,
  handleMessage: async (message) => {
    handled += 1;
    for (let second = 0; second < TIMEOUT_S + 2; second += 1) {
      await sleep(1000);
      seenByOthers.push(...(await receive(queueUrl)));
    }
    return message;
  },
});
const processed = event(slow, "message_processed");
slow.start();
await processed;
slow.stop();

const failingUrl = await newQueue("failing", { VisibilityTimeout: "600" });
await sqs.send(new SendMessageCommand({ QueueUrl: failingUrl, MessageBody: "fails once" }));
const receives = [];
const failing = Consumer.create({
  queueUrl: failingUrl,
  sqs,
  terminateVisibilityTimeout: true,
  waitTimeSeconds: 1,
  attributeNames: ["ApproximateReceiveCount"],
  handleMessage: async (message) => {
    receives.push(message.Attributes.ApproximateReceiveCount);
    if (receives.length === 1) {
      throw new Error("once");
    }
    return message;
  },
});
failing.on("processing_error", () => {});
const recovered = event(failing, "message_processed");
failing.start();
await recovered;
failing.stop();

tell({
  handled,
  "seen by others": seenByOthers.length,
  "left of the slow": await left(queueUrl),
  receives,
  "left of the failing": await left(failingUrl),
});
