package common;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.function.Consumer;
import java.util.stream.Stream;
import software.amazon.awssdk.services.sqs.SqsClient;
import software.amazon.awssdk.services.sqs.model.Message;
import software.amazon.awssdk.services.sqs.model.MessageSystemAttributeName;
import software.amazon.awssdk.services.sqs.model.QueueAttributeName;
import software.amazon.awssdk.services.sqs.model.ReceiveMessageRequest;

/** What every scenario begins with and ends in. */
public final class Queues {
    /** Endpoint, region and credentials come from the environment, as on a user's machine. */
    public static final SqsClient SQS = SqsClient.create();

    private Queues() {}

    public static String newQueue(String name, Map<String, String> attributes) {
        return SQS.createQueue(request -> request.queueName(name).attributesWithStrings(attributes)).queueUrl();
    }

    public static String newQueue(String name) {
        return newQueue(name, Map.of());
    }

    /** A queue whose messages go to another after so many receives. */
    public static String newQueue(String name, String deadLetters, int receives, Map<String, String> attributes) {
        var policy = """
                {"deadLetterTargetArn": "%s", "maxReceiveCount": %d}""".formatted(arn(deadLetters), receives);
        var url = newQueue(name, attributes);
        SQS.setQueueAttributes(request -> request.queueUrl(url)
                .attributes(Map.of(QueueAttributeName.REDRIVE_POLICY, policy)));
        return url;
    }

    public static String url(String name) {
        return SQS.getQueueUrl(request -> request.queueName(name)).queueUrl();
    }

    public static String attribute(String url, QueueAttributeName name) {
        return SQS.getQueueAttributes(request -> request.queueUrl(url).attributeNames(QueueAttributeName.ALL))
                .attributes()
                .get(name);
    }

    public static String arn(String url) {
        return attribute(url, QueueAttributeName.QUEUE_ARN);
    }

    public static String send(String url, String body) {
        return SQS.sendMessage(request -> request.queueUrl(url).messageBody(body)).messageId();
    }

    /** All that can be received, with everything that there is to know of it. */
    public static List<Message> receive(String url, Consumer<ReceiveMessageRequest.Builder> options) {
        return SQS.receiveMessage(request -> options.accept(request.queueUrl(url)
                        .maxNumberOfMessages(10)
                        .messageAttributeNames("All")
                        .messageSystemAttributeNames(MessageSystemAttributeName.ALL)))
                .messages();
    }

    public static List<Message> receive(String url) {
        return receive(url, request -> {});
    }

    public static void remove(String url, Message message) {
        SQS.deleteMessage(request -> request.queueUrl(url).receiptHandle(message.receiptHandle()));
    }

    public static void hide(String url, Message message, int seconds) {
        SQS.changeMessageVisibility(request -> request.queueUrl(url)
                .receiptHandle(message.receiptHandle())
                .visibilityTimeout(seconds));
    }

    public static List<String> bodies(List<Message> messages) {
        return messages.stream().map(Message::body).toList();
    }

    /** The messages that are visible, in flight and delayed. */
    public static List<Integer> left(String url) {
        return Stream.of(
                        QueueAttributeName.APPROXIMATE_NUMBER_OF_MESSAGES,
                        QueueAttributeName.APPROXIMATE_NUMBER_OF_MESSAGES_NOT_VISIBLE,
                        QueueAttributeName.APPROXIMATE_NUMBER_OF_MESSAGES_DELAYED)
                .map(name -> Integer.valueOf(attribute(url, name)))
                .toList();
    }

    /** Ask again until the condition holds. The caller's patience ends a scenario that it never does in. */
    public static void await(Callable<Boolean> condition) throws Exception {
        while (!condition.call()) {
            Thread.sleep(Duration.ofMillis(50).toMillis());
        }
    }
}
