// What pages in a browser get of a broker: of evil.example, of another port of localhost, of a name
// that was pointed at the broker, and of the origin that the broker allows.
import { chromium } from "playwright-core";

const [executablePath, profile, screenshot, broker, evil, other, allowed, rebound] =
  process.argv.slice(2);
const SENDING = "Action=SendMessage&QueueUrl=jobs&MessageBody=unwanted";

const context = await chromium.launchPersistentContext(profile, {
  executablePath,
  args: [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP evil.example 127.0.0.1",
  ],
});
const page = await context.newPage();
const answers = [];
page.on("response", (response) => {
  if (response.url().startsWith(broker) || response.url().startsWith(rebound)) {
    answers.push(`${response.request().method()} ${response.status()}`);
  }
});

// What the broker answered while a page did something, and what the page got of it.
async function attempt(origin, action, argument) {
  await page.goto(origin);
  answers.length = 0;
  const got = await page.evaluate(action, argument);
  return { got, answers: [...answers] };
}

async function post_a_form(origin) {
  await page.goto(origin);
  answers.length = 0;
  const navigated = page.waitForNavigation();
  await page.evaluate(
    ({ broker, sending }) => {
      const form = document.createElement("form");
      form.method = "POST";
      form.action = broker;
      for (const [name, value] of new URLSearchParams(sending)) {
        const field = document.createElement("input");
        Object.assign(field, { type: "hidden", name, value });
        form.append(field);
      }
      document.body.append(form);
      form.submit();
    },
    { broker, sending: SENDING },
  );
  await navigated;
  return { got: null, answers: [...answers] };
}

const load_a_picture = (url) =>
  new Promise((resolve) => {
    const picture = new Image();
    picture.referrerPolicy = "no-referrer";
    picture.onload = () => resolve("loaded");
    picture.onerror = () => resolve("failed");
    picture.src = url;
    document.body.append(picture);
  });

const fetch_blindly = ([url, body]) =>
  fetch(url, { method: "POST", mode: "no-cors", body: new URLSearchParams(body) }).then(
    (response) => response.type,
  );

const fetch_as_an_sdk = (url) =>
  fetch(url, {
    method: "POST",
    headers: { "X-Amz-Target": "AmazonSQS.ListQueues", "Content-Type": "application/x-amz-json-1.0" },
    body: "{}",
  }).then(
    (response) => response.text(),
    (error) => error.name,
  );

const read = (url) =>
  fetch(url).then(
    async (response) => [response.status, await response.text()],
    (error) => error.name,
  );

async function attacks(origin) {
  return {
    form: await post_a_form(origin),
    picture: await attempt(origin, load_a_picture, `${broker}/?${SENDING}`),
    blind: await attempt(origin, fetch_blindly, [broker, SENDING]),
    sdk: await attempt(origin, fetch_as_an_sdk, broker),
    messages: await attempt(origin, read, `${broker}/_forebay/messages?QueueUrl=jobs`),
  };
}

async function use_the_sdk() {
  await page.goto(allowed);
  await page.addScriptTag({ path: "node_modules/aws-sdk/dist/aws-sdk.min.js" });
  return page.evaluate(async (broker) => {
    const sqs = new AWS.SQS({
      endpoint: broker,
      region: "eu-west-1",
      credentials: { accessKeyId: "any", secretAccessKey: "any" },
      maxRetries: 0,
    });
    const { QueueUrl } = await sqs.createQueue({ QueueName: "orders" }).promise();
    const sent = await sqs.sendMessage({ QueueUrl, MessageBody: "A-12 \u{1f3ab}" }).promise();
    const { Messages } = await sqs.receiveMessage({ QueueUrl, WaitTimeSeconds: 1 }).promise();
    const { ReceiptHandle, Body, MessageId } = Messages[0];
    await sqs.deleteMessage({ QueueUrl, ReceiptHandle }).promise();
    const left = await sqs
      .getQueueAttributes({ QueueUrl, AttributeNames: ["ApproximateNumberOfMessages"] })
      .promise();
    const refusal = await sqs
      .getQueueUrl({ QueueName: "nowhere" })
      .promise()
      .catch((error) => error);
    const report = {
      body: Body,
      same: MessageId === sent.MessageId,
      left: left.Attributes,
      refusal: [refusal.code, refusal.statusCode, typeof refusal.requestId],
    };
    document.body.append(JSON.stringify(report, null, 1));
    return report;
  }, broker);
}

const report = {
  evil: await attacks(evil),
  other: await attacks(other),
  rebound: await (async () => {
    answers.length = 0;
    await page.goto(`${rebound}/?Action=ListQueues`);
    return { got: await page.evaluate(read, "/_forebay/messages?QueueUrl=jobs"), answers: [...answers] };
  })(),
  allowed: await use_the_sdk(),
  read: await attempt(allowed, read, `${broker}/_forebay/queues`),
};
await page.goto(allowed);
await page.setContent(`<pre style="white-space: pre-wrap">${JSON.stringify(report, null, 1).replaceAll("<", "&lt;")}</pre>`);
await page.screenshot({ path: screenshot, fullPage: true });
await context.close();
console.log(JSON.stringify(report));
