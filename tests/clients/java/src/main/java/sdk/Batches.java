package sdk;

import static common.Queues.SQS;
import static common.Queues.left;
import static common.Queues.newQueue;
import static common.Queues.receive;

import common.Answer;
import java.util.List;
import java.util.Map;
import software.amazon.awssdk.services.sqs.model.BatchResultErrorEntry;

/** Batches in which one entry is refused and the others are carried out. */
final class Batches {
    public static void main(String[] arguments) {
        var url = newQueue("batches", Map.of("MaximumMessageSize", "1024"));
        var sent = SQS.sendMessageBatch(request -> request.queueUrl(url)
                .entries(
                        entry -> entry.id("good").messageBody("a"),
                        entry -> entry.id("long").messageBody("b".repeat(1025)),
                        entry -> entry.id("late").messageBody("c").delaySeconds(900)));
        var afterwards = left(url);
        var handle = receive(url).get(0).receiptHandle();
        var changed = SQS.changeMessageVisibilityBatch(request -> request.queueUrl(url)
                .entries(
                        entry -> entry.id("good").receiptHandle(handle).visibilityTimeout(60),
                        entry -> entry.id("bad").receiptHandle("no handle").visibilityTimeout(60)));
        var removed = SQS.deleteMessageBatch(request -> request.queueUrl(url)
                .entries(
                        entry -> entry.id("good").receiptHandle(handle),
                        entry -> entry.id("bad").receiptHandle("no handle")));
        var gone = SQS.changeMessageVisibilityBatch(request -> request.queueUrl(url)
                .entries(entry -> entry.id("gone").receiptHandle(handle).visibilityTimeout(0)));
        new Answer()
                .say("sent", sent.successful().stream().map(entry -> entry.id()).toList())
                .say("not sent", failures(sent.failed()))
                .say("after the batch", afterwards)
                .say("changed", changed.successful().size())
                .say("not changed", failures(changed.failed()))
                .say("removed", removed.successful().size())
                .say("not removed", failures(removed.failed()))
                .say("gone", failures(gone.failed()))
                .tell();
    }

    private static List<List<Object>> failures(List<BatchResultErrorEntry> entries) {
        return entries.stream()
                .map(entry -> List.<Object>of(entry.id(), entry.code(), entry.senderFault()))
                .toList();
    }
}
