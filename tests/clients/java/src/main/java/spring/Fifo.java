package spring;

import static common.Queues.attribute;
import static common.Queues.await;
import static common.Queues.left;
import static common.Queues.newQueue;
import static common.Queues.url;

import common.Answer;
import io.awspring.cloud.sqs.annotation.SqsListener;
import io.awspring.cloud.sqs.listener.SqsHeaders.MessageSystemAttributes;
import io.awspring.cloud.sqs.operations.SqsTemplate;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import java.util.concurrent.atomic.AtomicInteger;
import org.springframework.boot.SpringBootConfiguration;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.messaging.handler.annotation.Header;
import software.amazon.awssdk.services.sqs.model.QueueAttributeName;

/** Groups in parallel, each in its order, through a failure and through work that outlasts the timeout. */
@SpringBootConfiguration(proxyBeanMethods = false)
@EnableAutoConfiguration
class Fifo {
    private static final int COUNT = 12;
    private static final ConcurrentMap<String, List<Integer>> groups = new ConcurrentHashMap<>();
    private static final ConcurrentMap<String, Integer> busy = new ConcurrentHashMap<>();
    private static final AtomicInteger overlaps = new AtomicInteger();
    private static final AtomicInteger failures = new AtomicInteger();
    private static final List<String> slow = java.util.Collections.synchronizedList(new ArrayList<>());

    @SqsListener("orders.fifo")
    void onOrder(int number, @Header(MessageSystemAttributes.SQS_MESSAGE_GROUP_ID_HEADER) String group)
            throws InterruptedException {
        overlaps.addAndGet(busy.merge(group, 1, Integer::sum) - 1);
        Thread.sleep(20);
        busy.merge(group, -1, Integer::sum);
        if (number == 4 && failures.getAndIncrement() == 0) {
            throw new IllegalStateException("fails once");
        }
        groups.computeIfAbsent(group, name -> new ArrayList<>()).add(number);
    }

    /** Each message begins with the whole of its timeout, however long the group's others took before it. */
    @SqsListener(value = "slow.fifo", messageVisibilitySeconds = "3", maxConcurrentMessages = "10")
    void onSlowOrder(String body, @Header(MessageSystemAttributes.SQS_APPROXIMATE_RECEIVE_COUNT) String receives)
            throws InterruptedException {
        Thread.sleep(1300);
        slow.add(body + " " + receives);
    }

    public static void main(String[] arguments) throws Exception {
        var orders = newQueue("orders.fifo", Map.of("FifoQueue", "true", "VisibilityTimeout", "2"));
        var context = Application.of(Fifo.class);
        var template = context.getBean(SqsTemplate.class);
        for (var time = 0; time < 2; time++) {
            for (var number = 0; number < COUNT; number++) {
                send(template, "orders.fifo", "section-" + number % 3, number);
            }
        }
        for (var number = 0; number < 3; number++) {
            send(template, "slow.fifo", "one", number);
        }
        await(() -> slow.size() == 3 && left(url("slow.fifo")).equals(List.of(0, 0, 0)));
        await(() -> groups.values().stream().mapToInt(List::size).sum() >= COUNT
                && left(orders).equals(List.of(0, 0, 0)));
        new Answer()
                .say("groups", new TreeMap<>(groups))
                .say("overlaps", overlaps.get())
                .say("failures", failures.get() - 1)
                .say("slow", slow)
                .say("created as", attribute(url("slow.fifo"), QueueAttributeName.FIFO_QUEUE))
                .tell();
    }

    private static void send(SqsTemplate template, String queue, String group, int number) {
        template.send(options -> options.queue(queue)
                .payload(number)
                .messageGroupId(group)
                .messageDeduplicationId("order-" + number));
    }
}
