// What every scenario begins with and ends in.

// The version that sqs-consumer 5 was made for speaks Query; the last of all speaks AWS JSON.
const AWS = require(process.env.SDK);

// Region and credentials come from the environment. Of the endpoint this SDK must be told.
const sqs = new AWS.SQS({ endpoint: process.env.AWS_ENDPOINT_URL_SQS });

async function newQueue(name, attributes = {}) {
  const created = await sqs.createQueue({ QueueName: name, Attributes: attributes }).promise();
  return created.QueueUrl;
}

// [visible, in flight]
async function left(url) {
  const names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
  const read = await sqs.getQueueAttributes({ QueueUrl: url, AttributeNames: names }).promise();
  return names.map((name) => Number(read.Attributes[name]));
}

function event(emitter, name) {
  return new Promise((resolve) => emitter.once(name, resolve));
}

// Prints what a scenario tells; a scenario that fails ends the process.
async function tell(scenario) {
  console.log(JSON.stringify(await scenario()));
  process.exit(0);
}

process.on("unhandledRejection", (error) => {
  console.error(error);
  process.exit(1);
});

module.exports = { event, left, newQueue, sqs, tell };
