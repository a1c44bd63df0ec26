package spring;

import static common.Queues.await;
import static common.Queues.left;
import static common.Queues.newQueue;
import static common.Queues.receive;
import static common.Queues.send;

import common.Answer;
import io.awspring.cloud.sqs.annotation.SqsListener;
import io.awspring.cloud.sqs.listener.SqsHeaders.MessageSystemAttributes;
import io.awspring.cloud.sqs.listener.Visibility;
import io.awspring.cloud.sqs.listener.errorhandler.AsyncErrorHandler;
import io.awspring.cloud.sqs.listener.errorhandler.ExponentialBackoffErrorHandler;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;
import org.springframework.boot.SpringBootConfiguration;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.context.annotation.Bean;
import org.springframework.messaging.handler.annotation.Header;

/** A listener that prolongs what it works on, and an error handler that gives back at its own pace. */
@SpringBootConfiguration(proxyBeanMethods = false)
@EnableAutoConfiguration
class Timeouts {
    private static final AtomicInteger prolonged = new AtomicInteger();
    private static final AtomicInteger seenByOthers = new AtomicInteger();
    private static final List<String> retried = new CopyOnWriteArrayList<>();
    private static String prolongedUrl;

    @Bean
    AsyncErrorHandler<Object> afterASecond() {
        return ExponentialBackoffErrorHandler.builder()
                .initialVisibilityTimeoutSeconds(1)
                .multiplier(1)
                .build();
    }

    @SqsListener("prolonged")
    void onLongWork(String body, Visibility visibility) throws InterruptedException {
        for (var second = 0; second < 5; second++) {
            visibility.changeTo(3);
            Thread.sleep(1000);
            seenByOthers.addAndGet(receive(prolongedUrl).size());
        }
        prolonged.incrementAndGet();
    }

    @SqsListener("retried")
    void onTrouble(String body, @Header(MessageSystemAttributes.SQS_APPROXIMATE_RECEIVE_COUNT) String receives) {
        retried.add(receives);
        if (retried.size() < 3) {
            throw new IllegalStateException("not yet");
        }
    }

    public static void main(String[] arguments) throws Exception {
        prolongedUrl = newQueue("prolonged", Map.of("VisibilityTimeout", "3"));
        var retriedUrl = newQueue("retried", Map.of("VisibilityTimeout", "600"));
        var context = Application.of(Timeouts.class);
        send(prolongedUrl, "takes its time");
        send(retriedUrl, "fails twice");
        await(() -> prolonged.get() == 1 && left(prolongedUrl).equals(List.of(0, 0, 0)));
        await(() -> retried.size() == 3 && left(retriedUrl).equals(List.of(0, 0, 0)));
        new Answer()
                .say("handled", prolonged.get())
                .say("seen by others", seenByOthers.get())
                .say("receives of the retried", retried)
                .tell();
    }
}
