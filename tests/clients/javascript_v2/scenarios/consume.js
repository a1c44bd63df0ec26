// sqs-consumer 5 handles what is sent, one by one and in batches, and gives back what fails.

const { Consumer } = require("sqs-consumer");
const { event, left, newQueue, sqs, tell } = require("./client.js");

async function consume(queueUrl, count, options) {
  const bodies = [];
  const errors = [];
  const handle = (message) => bodies.push(message.Body);
  const consumer = Consumer.create({
    queueUrl,
    sqs,
    waitTimeSeconds: 1,
    ...options(handle),
  });
  for (const name of ["error", "processing_error", "timeout_error"]) {
    consumer.on(name, (error) => errors.push(`${name}: ${error.message}`));
  }
  consumer.start();
  while (bodies.length < count) {
    await event(consumer, "response_processed");
  }
  const stopped = event(consumer, "stopped");
  consumer.stop();
  await stopped;
  return { bodies: bodies.sort(), errors, left: await left(queueUrl) };
}

async function send(queueUrl, count) {
  for (let number = 0; number < count; number += 1) {
    await sqs.sendMessage({ QueueUrl: queueUrl, MessageBody: `body ${number}` }).promise();
  }
}

tell(async () => {
  const single = await newQueue("single");
  await send(single, 3);
  const batches = await newQueue("batches");
  await send(batches, 3);
  const failing = await newQueue("failing");
  await send(failing, 1);
  let failures = 0;
  return {
    single: await consume(single, 3, (handle) => ({
      handleMessage: async (message) => handle(message),
    })),
    batches: await consume(batches, 3, (handle) => ({
      batchSize: 10,
      handleMessageBatch: async (messages) => messages.forEach(handle),
    })),
    failing: await consume(failing, 1, (handle) => ({
      terminateVisibilityTimeout: true,
      handleMessage: async (message) => {
        failures += 1;
        if (failures === 1) {
          throw new Error("not yet");
        }
        handle(message);
      },
    })),
  };
});
