package sdk;

import static common.Queues.SQS;
import static common.Queues.newQueue;
import static common.Queues.receive;
import static common.Queues.remove;
import static common.Queues.send;

import common.Answer;
import java.util.List;
import java.util.Map;
import software.amazon.awssdk.services.sqs.model.SqsException;

/** What the SDK makes of a refusal: its exception, the code of the Query protocol, and the status. */
final class Refusals {
    public static void main(String[] arguments) {
        var url = newQueue("refusing");
        var nowhere = url.replace("refusing", "nowhere");
        newQueue("taken", Map.of("DelaySeconds", "1"));
        SQS.deleteQueue(request -> request.queueUrl(newQueue("gone")));
        SQS.purgeQueue(request -> request.queueUrl(url));
        send(url, "removed");
        var removed = receive(url).get(0);
        remove(url, removed);
        new Answer()
                .say("missing queue", refusal(() -> SQS.getQueueUrl(request -> request.queueName("nowhere"))))
                .say("missing queue by URL", refusal(() -> send(nowhere, "a")))
                .say("other attributes", refusal(() -> newQueue("taken", Map.of("DelaySeconds", "2"))))
                .say("too soon", refusal(() -> newQueue("gone")))
                .say("bad handle", refusal(() -> SQS.deleteMessage(
                        request -> request.queueUrl(url).receiptHandle("no handle"))))
                .say("bad characters", refusal(() -> send(url, "\uffff")))
                .say("empty batch", refusal(() -> SQS.sendMessageBatch(
                        request -> request.queueUrl(url).entries(List.of()))))
                .say("same ids", refusal(() -> SQS.sendMessageBatch(request -> request.queueUrl(url)
                        .entries(
                                entry -> entry.id("same").messageBody("a"),
                                entry -> entry.id("same").messageBody("b")))))
                .say("second purge", refusal(() -> SQS.purgeQueue(request -> request.queueUrl(url))))
                .say("unknown attribute", refusal(() -> SQS.setQueueAttributes(request -> request.queueUrl(url)
                        .attributesWithStrings(Map.of("Colour", "blue")))))
                .say("too many", refusal(() -> receive(url, request -> request.maxNumberOfMessages(11))))
                .say("not in flight", refusal(() -> SQS.changeMessageVisibility(request -> request.queueUrl(url)
                        .receiptHandle(removed.receiptHandle())
                        .visibilityTimeout(1))))
                .tell();
    }

    private static Object refusal(Runnable call) {
        try {
            call.run();
            return "carried out";
        } catch (SqsException refused) {
            var details = refused.awsErrorDetails();
            return List.of(refused.getClass().getSimpleName(), details.errorCode(), refused.statusCode());
        }
    }
}
