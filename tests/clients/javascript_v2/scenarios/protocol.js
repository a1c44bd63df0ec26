// Which protocol the SDK speaks to SQS.

const { sqs, tell } = require("./client.js");

tell(async () => ({ protocol: sqs.api.protocol }));
