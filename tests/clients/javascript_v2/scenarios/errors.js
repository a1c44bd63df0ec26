// The code and the status that the SDK shows for a refusal.

const { newQueue, sqs, tell } = require("./client.js");

tell(async () => {
  const QueueUrl = await newQueue("refusing");
  await newQueue("taken", { DelaySeconds: "1" });
  await sqs.purgeQueue({ QueueUrl }).promise();
  const nowhere = QueueUrl.replace("refusing", "nowhere");
  const requests = {
    "missing queue": sqs.getQueueUrl({ QueueName: "nowhere" }),
    "missing queue by URL": sqs.sendMessage({ QueueUrl: nowhere, MessageBody: "a" }),
    "other attributes": sqs.createQueue({ QueueName: "taken", Attributes: { DelaySeconds: "2" } }),
    "bad handle": sqs.deleteMessage({ QueueUrl, ReceiptHandle: "no handle" }),
    "bad characters": sqs.sendMessage({ QueueUrl, MessageBody: "\uffff" }),
    "second purge": sqs.purgeQueue({ QueueUrl }),
    "unknown attribute": sqs.setQueueAttributes({ QueueUrl, Attributes: { Colour: "blue" } }),
    "too many": sqs.receiveMessage({ QueueUrl, MaxNumberOfMessages: 11 }),
  };
  const refusals = {};
  for (const [what, request] of Object.entries(requests)) {
    try {
      await request.promise();
      refusals[what] = "carried out";
    } catch (error) {
      refusals[what] = [error.code, error.statusCode];
    }
  }
  return refusals;
});
