// A standard message from its birth to its end. The SDK compares the MD5 of body and attributes.

const { left, newQueue, sqs, tell } = require("./client.js");

tell(async () => {
  const QueueUrl = await newQueue("life-cycle", { VisibilityTimeout: "60" });
  const sent = await sqs
    .sendMessage({
      QueueUrl,
      MessageBody: "hello \u65e5\u672c <&>\r\n",
      MessageAttributes: {
        seat: { DataType: "Binary", BinaryValue: Buffer.from([0, 255]) },
        row: { DataType: "Number.int", StringValue: "12" },
      },
    })
    .promise();
  const receive = async () =>
    (
      await sqs
        .receiveMessage({ QueueUrl, AttributeNames: ["All"], MessageAttributeNames: ["All"] })
        .promise()
    ).Messages ?? [];
  const [first] = await receive();
  const hidden = await receive();
  await sqs
    .changeMessageVisibility({
      QueueUrl,
      ReceiptHandle: first.ReceiptHandle,
      VisibilityTimeout: 0,
    })
    .promise();
  const [second] = await receive();
  await sqs.deleteMessage({ QueueUrl, ReceiptHandle: second.ReceiptHandle }).promise();
  return {
    "same message": second.MessageId === sent.MessageId,
    body: second.Body,
    seat: [...second.MessageAttributes.seat.BinaryValue],
    row: second.MessageAttributes.row.DataType,
    receives: second.Attributes.ApproximateReceiveCount,
    "seen while hidden": hidden.length,
    left: await left(QueueUrl),
  };
});
