package sdk;

import static common.Queues.bodies;
import static common.Queues.left;
import static common.Queues.newQueue;

import common.Answer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.Executors;
import java.util.stream.IntStream;
import software.amazon.awssdk.services.sqs.SqsAsyncClient;
import software.amazon.awssdk.services.sqs.batchmanager.SqsAsyncBatchManager;
import software.amazon.awssdk.services.sqs.model.Message;

/** The SDK's batch manager: calls for one message each that it sends in batches, and receives ahead. */
final class BatchManager {
    private static final int COUNT = 25;
    private static final SqsAsyncClient SQS = SqsAsyncClient.create();

    public static void main(String[] arguments) throws Exception {
        var url = newQueue("batched", Map.of("MaximumMessageSize", "1024", "VisibilityTimeout", "60"));
        try (var manager = SQS.batchManager()) {
            var sends = IntStream.range(0, COUNT)
                    .mapToObj(number -> manager.sendMessage(
                            request -> request.queueUrl(url).messageBody("body " + number)))
                    .toList();
            var refused = manager.sendMessage(
                    request -> request.queueUrl(url).messageBody("b".repeat(1025)));
            var ids = new TreeSet<String>();
            sends.forEach(sent -> ids.add(sent.join().messageId()));

            var received = new ArrayList<Message>();
            while (received.size() < COUNT) {
                received.addAll(manager.receiveMessage(request -> request.queueUrl(url)
                                .maxNumberOfMessages(10)
                                .waitTimeSeconds(1))
                        .join()
                        .messages());
            }
            var receivedIds = new TreeSet<>(received.stream().map(Message::messageId).toList());
            var first = received.remove(0);
            manager.changeMessageVisibility(request -> request.queueUrl(url)
                            .receiptHandle(first.receiptHandle())
                            .visibilityTimeout(600))
                    .join();
            var noHandle = manager.deleteMessage(request -> request.queueUrl(url).receiptHandle("no handle"));
            var deletes = received.stream()
                    .map(message -> manager.deleteMessage(request -> request.queueUrl(url)
                            .receiptHandle(message.receiptHandle())))
                    .toArray(CompletableFuture[]::new);
            CompletableFuture.allOf(deletes).join();
            var left = left(url);

            var order = inOrder();
            new Answer()
                    .say("sent", ids.size())
                    .say("received are those", receivedIds.equals(ids))
                    .say("refused", failure(refused))
                    .say("no handle", failure(noHandle))
                    .say("left", left)
                    .say("in order", order)
                    .say("sent at the end", flushedAtTheEnd())
                    .tell();
        }
    }

    /** A FIFO queue gets the batches of one group in the order of the calls. */
    private static boolean inOrder() {
        var url = newQueue("batched.fifo", Map.of("FifoQueue", "true"));
        try (var manager = SQS.batchManager()) {
            var sends = IntStream.range(0, 10)
                    .mapToObj(number -> manager.sendMessage(request -> request.queueUrl(url)
                            .messageBody("" + number)
                            .messageGroupId("one")
                            .messageDeduplicationId("" + number)))
                    .toList();
            sends.forEach(CompletableFuture::join);
        }
        var expected = IntStream.range(0, 10).mapToObj(String::valueOf).toList();
        return bodies(common.Queues.receive(url)).equals(expected);
    }

    /** A manager that is closed before its batch is due sends it or says so. */
    private static List<Object> flushedAtTheEnd() throws Exception {
        var url = newQueue("flushed");
        CompletableFuture<?> sent;
        try (var manager = SqsAsyncBatchManager.builder()
                .client(SQS)
                .scheduledExecutor(Executors.newScheduledThreadPool(1))
                .overrideConfiguration(settings -> settings.sendRequestFrequency(Duration.ofSeconds(60)))
                .build()) {
            sent = manager.sendMessage(request -> request.queueUrl(url).messageBody("last"));
        }
        common.Queues.await(sent::isDone);
        return List.of(sent.isCompletedExceptionally(), left(url));
    }

    private static String failure(CompletableFuture<?> call) {
        try {
            call.join();
            return "carried out";
        } catch (CompletionException failed) {
            return failed.getCause().getClass().getSimpleName();
        }
    }
}
