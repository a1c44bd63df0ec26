package spring;

import static common.Queues.await;
import static common.Queues.left;
import static common.Queues.newQueue;

import common.Answer;
import io.awspring.cloud.sqs.annotation.SqsListener;
import io.awspring.cloud.sqs.annotation.SqsListenerAcknowledgementMode;
import io.awspring.cloud.sqs.listener.acknowledgement.BatchAcknowledgement;
import io.awspring.cloud.sqs.operations.SendBatchOperationFailedException;
import io.awspring.cloud.sqs.operations.SqsTemplate;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.stream.IntStream;
import org.springframework.boot.SpringBootConfiguration;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.messaging.Message;
import org.springframework.messaging.support.GenericMessage;

/** Batches that the template sends and receives, and a listener that acknowledges a part of its batch. */
@SpringBootConfiguration(proxyBeanMethods = false)
@EnableAutoConfiguration
class Batches {
    private static final int COUNT = 30;
    private static final List<Integer> sizes = new CopyOnWriteArrayList<>();
    private static final List<String> handled = new CopyOnWriteArrayList<>();

    @SqsListener(value = "in-batches", acknowledgementMode = SqsListenerAcknowledgementMode.MANUAL)
    void onBatch(List<Message<String>> messages, BatchAcknowledgement<String> acknowledgement) {
        sizes.add(messages.size());
        messages.forEach(message -> handled.add(message.getPayload()));
        acknowledgement.acknowledge(messages.stream()
                .filter(message -> !message.getPayload().equals("0"))
                .toList());
    }

    public static void main(String[] arguments) throws Exception {
        var url = newQueue("in-batches", Map.of("VisibilityTimeout", "600", "MaximumMessageSize", "1024"));
        var other = newQueue("by-template", Map.of("MaximumMessageSize", "1024"));
        var context = Application.of(Batches.class);
        var template = context.getBean(SqsTemplate.class);
        for (var begin = 0; begin < COUNT; begin += 10) {
            var batch = IntStream.range(begin, begin + 10)
                    .<Message<String>>mapToObj(number -> new GenericMessage<>("" + number))
                    .toList();
            template.sendMany("in-batches", batch);
        }
        await(() -> handled.size() == COUNT && left(url).equals(List.of(0, 1, 0)));

        var failed = new ArrayList<Integer>();
        try {
            template.sendMany("by-template", List.of(
                    new GenericMessage<>("good"), new GenericMessage<>("b".repeat(1025))));
        } catch (SendBatchOperationFailedException refused) {
            failed.add(refused.getFailedMessages().size());
            failed.add(refused.getSendBatchResult(String.class).successful().size());
        }
        var received = template.receiveMany(options -> options.queue("by-template"), String.class);
        new Answer()
                .say("handled", handled.stream().map(Integer::valueOf).sorted().toList().equals(
                        IntStream.range(0, COUNT).boxed().toList()))
                .say("in batches", sizes.stream().anyMatch(size -> size > 1))
                .say("failed and sent", failed)
                .say("received by the template", received.stream().map(Message::getPayload).toList())
                .say("left of those", left(other))
                .tell();
    }
}
