// A standard message from its birth to its end, with the bare SDK.

import {
  ChangeMessageVisibilityCommand,
  DeleteMessageBatchCommand,
  ListQueueTagsCommand,
  SendMessageBatchCommand,
  SendMessageCommand,
  TagQueueCommand,
} from "@aws-sdk/client-sqs";
import { left, newQueue, receive, remove, sqs, tell } from "./client.js";

const url = await newQueue("life-cycle", { VisibilityTimeout: "60", MaximumMessageSize: "1024" });
const sent = await sqs.send(
  new SendMessageCommand({
    QueueUrl: url,
    MessageBody: "hello 日本",
    MessageAttributes: {
      seat: { DataType: "Binary", BinaryValue: new Uint8Array([0, 255]) },
      row: { DataType: "Number.int", StringValue: "12" },
    },
  }),
);
const ask = { MessageAttributeNames: ["All"], MessageSystemAttributeNames: ["All"] };
const [first] = await receive(url, ask);
const hidden = await receive(url, ask);
await sqs.send(
  new ChangeMessageVisibilityCommand({
    QueueUrl: url,
    ReceiptHandle: first.ReceiptHandle,
    VisibilityTimeout: 0,
  }),
);
const [second] = await receive(url, ask);
await remove(url, second);

const batch = await sqs.send(
  new SendMessageBatchCommand({
    QueueUrl: url,
    Entries: [
      { Id: "good", MessageBody: "a" },
      { Id: "long", MessageBody: "b".repeat(1025) },
    ],
  }),
);
const [good] = await receive(url);
const removed = await sqs.send(
  new DeleteMessageBatchCommand({
    QueueUrl: url,
    Entries: [
      { Id: "good", ReceiptHandle: good.ReceiptHandle },
      { Id: "bad", ReceiptHandle: "no handle" },
    ],
  }),
);
await sqs.send(new TagQueueCommand({ QueueUrl: url, Tags: { team: "shop", empty: "" } }));
const tags = await sqs.send(new ListQueueTagsCommand({ QueueUrl: url }));

tell({
  "same message": first.MessageId === sent.MessageId && second.MessageId === sent.MessageId,
  body: second.Body,
  seat: Array.from(second.MessageAttributes.seat.BinaryValue),
  row: second.MessageAttributes.row.DataType,
  receives: second.Attributes.ApproximateReceiveCount,
  "seen while hidden": hidden.length,
  sent: batch.Successful.map((entry) => entry.Id),
  "not sent": batch.Failed.map((entry) => [entry.Id, entry.Code, entry.SenderFault]),
  removed: removed.Successful.map((entry) => entry.Id),
  "not removed": removed.Failed.map((entry) => [entry.Id, entry.Code, entry.SenderFault]),
  tags: tags.Tags,
  left: await left(url),
  "request id": typeof sent.$metadata.requestId,
});
