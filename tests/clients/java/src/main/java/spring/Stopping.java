package spring;

import static common.Queues.left;
import static common.Queues.newQueue;
import static common.Queues.send;

import common.Answer;
import io.awspring.cloud.sqs.annotation.SqsListener;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import org.springframework.boot.SpringBootConfiguration;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;

/** A context that is closed in a listener and in a long poll ends what it has and leaves the rest. */
@SpringBootConfiguration(proxyBeanMethods = false)
@EnableAutoConfiguration
class Stopping {
    private static final CountDownLatch started = new CountDownLatch(1);
    private static final List<String> ended = new CopyOnWriteArrayList<>();

    @SqsListener(value = "stopping", maxConcurrentMessages = "1", maxMessagesPerPoll = "1")
    void onSlowWork(String body) throws InterruptedException {
        started.countDown();
        Thread.sleep(1000);
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
}
