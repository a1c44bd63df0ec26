// Every list and map that a program may leave empty without leaving it out.

const { newQueue, sqs, tell } = require("./client.js");

async function code(request) {
  try {
    await request.promise();
    return "carried out";
  } catch (error) {
    return error.code;
  }
}

tell(async () => {
  const url = await newQueue("empty");
  const QueueUrl = url;
  await sqs.createQueue({ QueueName: "empty", Attributes: {}, tags: {} }).promise();
  const attributes = { MessageAttributes: {}, MessageSystemAttributes: {} };
  await sqs.sendMessage({ QueueUrl, MessageBody: "a", ...attributes }).promise();
  const Entries = [{ Id: "b", MessageBody: "b", ...attributes }];
  await sqs.sendMessageBatch({ QueueUrl, Entries }).promise();
  const names = { AttributeNames: [], MessageAttributeNames: [] };
  const received = await sqs
    .receiveMessage({ QueueUrl, MaxNumberOfMessages: 10, ...names })
    .promise();
  const read = await sqs.getQueueAttributes({ QueueUrl, AttributeNames: [] }).promise();
  const again = { DataType: "String", StringValue: "a", StringListValues: [] };
  return {
    received: received.Messages.map((message) => Object.keys(message).sort()),
    attributes: Object.keys(read.Attributes ?? {}),
    sent: await code(sqs.sendMessageBatch({ QueueUrl, Entries: [] })),
    changed: await code(sqs.changeMessageVisibilityBatch({ QueueUrl, Entries: [] })),
    deleted: await code(sqs.deleteMessageBatch({ QueueUrl, Entries: [] })),
    "an empty list": await code(
      sqs.sendMessage({ QueueUrl, MessageBody: "a", MessageAttributes: { n: again } }),
    ),
  };
});
