// What every scenario begins with and ends in.

import {
  CreateQueueCommand,
  DeleteMessageCommand,
  GetQueueAttributesCommand,
  ReceiveMessageCommand,
  SQSClient,
} from "@aws-sdk/client-sqs";

// Endpoint, region and credentials come from the environment, as on a user's machine.
export const sqs = new SQSClient({});

export async function newQueue(name, attributes = {}) {
  const created = await sqs.send(new CreateQueueCommand({ QueueName: name, Attributes: attributes }));
  return created.QueueUrl;
}

export async function receive(url, options = {}) {
  const received = await sqs.send(new ReceiveMessageCommand({ QueueUrl: url, ...options }));
  return received.Messages ?? [];
}

export async function remove(url, message) {
  await sqs.send(
    new DeleteMessageCommand({ QueueUrl: url, ReceiptHandle: message.ReceiptHandle }),
  );
}

// [visible, in flight]
export async function left(url) {
  const names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
  const read = await sqs.send(
    new GetQueueAttributesCommand({ QueueUrl: url, AttributeNames: names }),
  );
  return names.map((name) => Number(read.Attributes[name]));
}

export function event(emitter, name) {
  return new Promise((resolve) => emitter.once(name, resolve));
}

// Ask again until the condition holds. The caller's patience ends a scenario that it never does in.
export async function until(condition) {
  while (!(await condition())) {
    await sleep(50);
  }
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export function tell(answer) {
  console.log(JSON.stringify(answer));
  sqs.destroy();
}
