package sdk;

import static common.Queues.SQS;
import static common.Queues.bodies;
import static common.Queues.hide;
import static common.Queues.left;
import static common.Queues.newQueue;
import static common.Queues.receive;
import static common.Queues.remove;

import common.Answer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.IntStream;
import software.amazon.awssdk.services.sqs.model.Message;
import software.amazon.awssdk.services.sqs.model.MessageSystemAttributeName;
import software.amazon.awssdk.services.sqs.model.SendMessageBatchRequestEntry;

/** Two groups, sent twice: each is received in its order, once, and one at a time. */
final class Fifo {
    public static void main(String[] arguments) {
        var url = newQueue("orders.fifo", Map.of("FifoQueue", "true", "ContentBasedDeduplication", "true"));
        var entries = IntStream.range(0, 6)
                .mapToObj(number -> SendMessageBatchRequestEntry.builder()
                        .id("" + number)
                        .messageBody("order " + number)
                        .messageGroupId("section-" + number % 2)
                        .build())
                .toList();
        var numbers = send(url, entries);
        var repeated = send(url, entries);
        var first = attempt(url);
        var again = attempt(url);
        var others = receive(url);
        var blocked = receive(url);
        remove(url, again);
        others.forEach(message -> hide(url, message, 0));
        var groups = new TreeMap<String, List<String>>();
        for (var messages = receive(url); !messages.isEmpty(); messages = receive(url)) {
            for (var message : messages) {
                var group = message.attributes().get(MessageSystemAttributeName.MESSAGE_GROUP_ID);
                groups.computeIfAbsent(group, name -> new ArrayList<>()).add(message.body());
                remove(url, message);
            }
        }
        new Answer()
                .say("ascending", numbers.equals(numbers.stream().sorted().toList()))
                .say("same numbers", numbers.equals(repeated))
                .say("first", first.body())
                .say("same attempt", first.receiptHandle().equals(again.receiptHandle()))
                .say("while one is out", bodies(others))
                .say("while all are", bodies(blocked))
                .say("groups", groups)
                .say("left", left(url))
                .tell();
    }

    private static List<String> send(String url, List<SendMessageBatchRequestEntry> entries) {
        return SQS.sendMessageBatch(request -> request.queueUrl(url).entries(entries)).successful().stream()
                .map(entry -> entry.sequenceNumber())
                .toList();
    }

    private static Message attempt(String url) {
        return receive(url, request -> request.maxNumberOfMessages(1).receiveRequestAttemptId("attempt-1"))
                .get(0);
    }
}
