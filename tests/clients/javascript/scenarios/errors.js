// How the SDK names what it is refused: its class, its name, the code of the Query protocol.

import * as sdk from "@aws-sdk/client-sqs";
import { newQueue, sqs, tell } from "./client.js";

const url = await newQueue("refusing");
const QueueUrl = url;
await newQueue("taken", { DelaySeconds: "1" });
await sqs.send(new sdk.PurgeQueueCommand({ QueueUrl }));

const calls = {
  "missing queue": new sdk.GetQueueUrlCommand({ QueueName: "nowhere" }),
  "missing queue by URL": new sdk.SendMessageCommand({
    QueueUrl: url.replace("refusing", "nowhere"),
    MessageBody: "a",
  }),
  "other attributes": new sdk.CreateQueueCommand({
    QueueName: "taken",
    Attributes: { DelaySeconds: "2" },
  }),
  "bad handle": new sdk.DeleteMessageCommand({ QueueUrl, ReceiptHandle: "no handle" }),
  "bad characters": new sdk.SendMessageCommand({ QueueUrl, MessageBody: "\uffff" }),
  "empty batch": new sdk.SendMessageBatchCommand({ QueueUrl, Entries: [] }),
  "second purge": new sdk.PurgeQueueCommand({ QueueUrl }),
  "unknown attribute": new sdk.SetQueueAttributesCommand({
    QueueUrl,
    Attributes: { Colour: "blue" },
  }),
  "too many": new sdk.ReceiveMessageCommand({ QueueUrl, MaxNumberOfMessages: 11 }),
};

const refusals = {};
for (const [what, command] of Object.entries(calls)) {
  try {
    await sqs.send(command);
    refusals[what] = "carried out";
  } catch (error) {
    refusals[what] = [error.name, error.Error?.Code ?? error.Code, error.$metadata.httpStatusCode];
  }
}
try {
  await sqs.send(calls["missing queue"]);
} catch (error) {
  refusals["is an instance"] = error instanceof sdk.QueueDoesNotExist;
}
tell(refusals);
