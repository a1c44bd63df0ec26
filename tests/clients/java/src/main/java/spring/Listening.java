package spring;

import static common.Queues.await;
import static common.Queues.bodies;
import static common.Queues.left;
import static common.Queues.newQueue;
import static common.Queues.receive;
import static common.Queues.send;
import static common.Queues.url;

import common.Answer;
import io.awspring.cloud.sqs.annotation.SqsListener;
import io.awspring.cloud.sqs.annotation.SqsListenerAcknowledgementMode;
import io.awspring.cloud.sqs.listener.SqsHeaders.MessageSystemAttributes;
import io.awspring.cloud.sqs.listener.acknowledgement.Acknowledgement;
import io.awspring.cloud.sqs.operations.SqsTemplate;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import org.springframework.boot.SpringBootConfiguration;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.messaging.handler.annotation.Header;

/** What listeners are handed, and what becomes of a message when they succeed and when they fail. */
@SpringBootConfiguration(proxyBeanMethods = false)
@EnableAutoConfiguration
class Listening {
    /** A payload, sent and received as JSON. */
    record Order(int number, String buyer) {}

    private static final List<Object> created = new CopyOnWriteArrayList<>();
    private static final List<String> failing = new CopyOnWriteArrayList<>();
    private static final List<String> always = new CopyOnWriteArrayList<>();
    private static final List<String> manual = new CopyOnWriteArrayList<>();

    @SqsListener("created")
    void onOrder(
            Order order,
            @Header("title") String title,
            @Header("row") int row,
            @Header(MessageSystemAttributes.SQS_APPROXIMATE_RECEIVE_COUNT) String receives) {
        created.addAll(List.of(order, title, row, receives));
    }

    @SqsListener("failing")
    void onFailure(String body) {
        failing.add(body);
        throw new IllegalStateException("never manages");
    }

    @SqsListener(value = "always", acknowledgementMode = SqsListenerAcknowledgementMode.ALWAYS)
    void onFailureThatCounts(String body) {
        always.add(body);
        throw new IllegalStateException("never manages, and need not");
    }

    @SqsListener(value = "manual", acknowledgementMode = SqsListenerAcknowledgementMode.MANUAL)
    void onChoice(String body, Acknowledgement acknowledgement) {
        if (body.equals("keep")) {
            acknowledgement.acknowledge();
        }
        manual.add(body);
    }

    public static void main(String[] arguments) throws Exception {
        var dead = newQueue("failing-dead");
        var failingUrl = newQueue("failing", dead, 2, Map.of("VisibilityTimeout", "1"));
        var alwaysUrl = newQueue("always", Map.of("VisibilityTimeout", "600"));
        var manualUrl = newQueue("manual", Map.of("VisibilityTimeout", "600"));
        var context = Application.of(Listening.class);
        // The queue "created" is there because a listener asked for it.
        var sent = context.getBean(SqsTemplate.class).send(options -> options.queue("created")
                .payload(new Order(7, "Jürgen"))
                .header("title", "Götterdämmerung & co")
                .header("row", 12));
        send(failingUrl, "fails");
        send(alwaysUrl, "fails");
        send(manualUrl, "keep");
        send(manualUrl, "leave");
        await(() -> created.size() == 4 && failing.size() >= 2 && always.size() == 1 && manual.size() == 2);
        await(() -> left(dead).equals(List.of(1, 0, 0)) && left(failingUrl).equals(List.of(0, 0, 0)));
        await(() -> left(url("created")).equals(List.of(0, 0, 0)) && left(alwaysUrl).equals(List.of(0, 0, 0)));
        await(() -> left(manualUrl).equals(List.of(0, 1, 0)));
        new Answer()
                .say("sent", sent.messageId().toString().length())
                .say("created", created)
                .say("attempts", failing)
                .say("dead", bodies(receive(dead)))
                .say("always", always)
                .say("manual", manual.stream().sorted().toList())
                .tell();
    }
}
