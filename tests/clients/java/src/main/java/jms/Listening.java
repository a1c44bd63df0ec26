package jms;

import static common.Queues.await;
import static common.Queues.bodies;
import static common.Queues.left;
import static common.Queues.newQueue;
import static common.Queues.receive;
import static common.Queues.send;
import static jms.Jms.connection;

import com.amazon.sqs.javamessaging.SQSSession;
import common.Answer;
import jakarta.jms.JMSException;
import jakarta.jms.Session;
import jakarta.jms.TextMessage;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;

/** Listeners: one that throws gives its message back, and one that is stopped leaves the others. */
final class Listening {
    public static void main(String[] arguments) throws Exception {
        new Answer()
                .say("failing", failing())
                .say("stopped", stopped())
                .tell();
    }

    /** The message that no attempt manages goes to the dead-letter queue, at once and not when it times out. */
    private static Map<String, Object> failing() throws Exception {
        var dead = newQueue("heard-dead");
        var url = newQueue("heard", dead, 2, Map.of("VisibilityTimeout", "600"));
        var heard = Collections.synchronizedList(new ArrayList<String>());
        var connection = connection(0);
        var session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        var consumer = session.createConsumer(session.createQueue("heard"));
        consumer.setMessageListener(message -> {
            try {
                heard.add(((TextMessage) message).getText());
            } catch (JMSException unreadable) {
                throw new IllegalStateException(unreadable);
            }
            if (heard.size() <= 2) {
                throw new IllegalStateException("never manages the first");
            }
        });
        connection.start();
        send(url, "fails");
        await(() -> heard.size() == 2);
        send(url, "succeeds");
        await(() -> heard.size() == 3 && left(url).equals(List.of(0, 0, 0)));
        // To close the connection would take as long as its poll for more messages.
        return Map.of("heard", heard, "dead", bodies(receive(dead)));
    }

    /** A connection that is closed while a listener works lets it end, and gives back what it took ahead. */
    private static Map<String, Object> stopped() throws Exception {
        var url = newQueue("stopped", Map.of("VisibilityTimeout", "600"));
        for (var number = 0; number < 5; number++) {
            send(url, "" + number);
        }
        var started = new CountDownLatch(1);
        var ended = Collections.synchronizedList(new ArrayList<String>());
        var connection = connection(5);
        var session = (SQSSession) connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        var closer = Thread.currentThread();
        session.createConsumer(session.createQueue("stopped")).setMessageListener(message -> {
            try {
                started.countDown();
                // The close waits for the listener after all that keeps it from the next message.
                await(() -> isClosing(session) && closer.getState() == Thread.State.WAITING);
                ended.add(((TextMessage) message).getText());
            } catch (Exception failed) {
                throw new IllegalStateException(failed);
            }
        });
        connection.start();
        started.await();
        connection.close();
        return Map.of("ended", ended.size(), "left", left(url));
    }

    private static boolean isClosing(SQSSession session) {
        try {
            session.checkClosing();
            return false;
        } catch (JMSException closing) {
            return true;
        }
    }
}
