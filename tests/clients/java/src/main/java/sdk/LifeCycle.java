package sdk;

import static common.Queues.SQS;
import static common.Queues.bodies;
import static common.Queues.hide;
import static common.Queues.left;
import static common.Queues.newQueue;
import static common.Queues.receive;
import static common.Queues.remove;

import common.Answer;
import java.util.Map;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.services.sqs.model.MessageAttributeValue;
import software.amazon.awssdk.services.sqs.model.MessageSystemAttributeName;
import software.amazon.awssdk.services.sqs.model.MessageSystemAttributeNameForSends;
import software.amazon.awssdk.services.sqs.model.MessageSystemAttributeValue;

/** A standard message from its birth to its end. The SDK compares the MD5 of body and attributes. */
final class LifeCycle {
    public static void main(String[] arguments) {
        var url = newQueue("life-cycle", Map.of("VisibilityTimeout", "60"));
        var body = "hello 日本 <&>\r\n\t" + "ö".repeat(100_000);
        var trace = MessageSystemAttributeValue.builder()
                .dataType("String")
                .stringValue("Root=1-5759e988")
                .build();
        var sent = SQS.sendMessage(request -> request.queueUrl(url)
                .messageBody(body)
                .messageAttributes(Map.of(
                        "seat",
                        MessageAttributeValue.builder()
                                .dataType("Binary.png")
                                .binaryValue(SdkBytes.fromByteArray(new byte[] {0, -1, 13, 10}))
                                .build(),
                        "row",
                        text("Number.int", "12"),
                        "title",
                        text("String", "Götterdämmerung & co")))
                .messageSystemAttributes(Map.of(MessageSystemAttributeNameForSends.AWS_TRACE_HEADER, trace)));
        var first = receive(url).get(0);
        var hidden = receive(url);
        hide(url, first, 0);
        var second = receive(url).get(0);
        remove(url, second);
        remove(url, second);
        new Answer()
                .say("same message", first.messageId().equals(sent.messageId()))
                .say("same body", second.body().equals(body))
                .say("seat", second.messageAttributes().get("seat").binaryValue().asByteArray())
                .say("seat type", second.messageAttributes().get("seat").dataType())
                .say("row", second.messageAttributes().get("row").stringValue())
                .say("title", second.messageAttributes().get("title").stringValue())
                .say("trace", second.attributes().get(MessageSystemAttributeName.AWS_TRACE_HEADER))
                .say("receives", second.attributes().get(MessageSystemAttributeName.APPROXIMATE_RECEIVE_COUNT))
                .say("seen while hidden", bodies(hidden))
                .say("left", left(url))
                .say("request id", sent.responseMetadata().requestId().length())
                .tell();
    }

    private static MessageAttributeValue text(String type, String value) {
        return MessageAttributeValue.builder().dataType(type).stringValue(value).build();
    }
}
