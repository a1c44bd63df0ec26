package spring;

import static common.Queues.left;
import static common.Queues.newQueue;
import static common.Queues.send;

import common.Answer;
import io.awspring.cloud.sqs.annotation.SqsListener;
import io.awspring.cloud.sqs.config.SqsMessageListenerContainerFactory;
import io.awspring.cloud.sqs.listener.backpressure.BackPressureHandler;
import io.awspring.cloud.sqs.listener.backpressure.BackPressureHandlerFactories;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.boot.SpringBootConfiguration;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;

/** A context that is closed in a listener and in a long poll ends what it has and leaves the rest. */
@SpringBootConfiguration(proxyBeanMethods = false)
@EnableAutoConfiguration
class Stopping {
    private static final CountDownLatch started = new CountDownLatch(1);
    /** Each of the two listeners' containers takes no more messages. */
    private static final CountDownLatch stopped = new CountDownLatch(2);
    private static final List<String> ended = new CopyOnWriteArrayList<>();

    @Autowired
    void configure(SqsMessageListenerContainerFactory<Object> factory) {
        factory.configure(options -> options
                // Batched, an acknowledgement is lost if the close looks for it while a thread moves it
                // from the processor's queue to its buffer: that drops the buffer when both are empty.
                .acknowledgementInterval(Duration.ZERO)
                .acknowledgementThreshold(0)
                .backPressureHandlerFactory(BackPressureHandlerFactories.compositeBackPressureHandler(
                        container -> new Draining(),
                        BackPressureHandlerFactories.adaptiveThroughputBackPressureHandler())));
    }

    @SqsListener(value = "stopping", maxConcurrentMessages = "1", maxMessagesPerPoll = "1")
    void onSlowWork(String body) throws InterruptedException {
        started.countDown();
        stopped.await();
        ended.add(body);
    }

    @SqsListener("idle")
    void onNothing(String body) {
        ended.add(body);
    }

    public static void main(String[] arguments) throws Exception {
        var url = newQueue("stopping", Map.of("VisibilityTimeout", "600"));
        var idle = newQueue("idle");
        for (var body : List.of("first", "second", "third")) {
            send(url, body);
        }
        var context = Application.of(Stopping.class);
        started.await();
        context.close();
        send(idle, "late");
        new Answer()
                .say("ended", ended.size())
                .say("left", left(url))
                .say("left of the idle", left(idle))
                .tell();
    }

    /** A container drains its permits, the first of its handlers first, once it takes no more messages. */
    private static final class Draining implements BackPressureHandler {
        @Override
        public int request(int amount) {
            return amount;
        }

        @Override
        public void release(int amount, ReleaseReason reason) {}

        @Override
        public boolean drain(Duration timeout) {
            stopped.countDown();
            return true;
        }
    }
}
