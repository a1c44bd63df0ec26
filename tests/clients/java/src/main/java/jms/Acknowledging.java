package jms;

import static common.Queues.left;
import static common.Queues.newQueue;
import static common.Queues.send;
import static jms.Jms.connection;
import static jms.Jms.next;
import static jms.Jms.texts;

import com.amazon.sqs.javamessaging.SQSSession;
import common.Answer;
import jakarta.jms.JMSException;
import jakarta.jms.Message;
import jakarta.jms.Session;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** What each mode removes from the queue, and what recover gives back. */
final class Acknowledging {
    private static final int COUNT = 3;

    public static void main(String[] arguments) throws Exception {
        new Answer()
                .say("automatic", automatic())
                .say("by the client", byTheClient())
                .say("unordered", unordered())
                .say("recovered", recovered())
                .tell();
    }

    /** A message is removed as soon as it was received. */
    private static List<Integer> automatic() throws JMSException {
        var url = filled("automatic");
        var connection = connection(0);
        var session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        var consumer = session.createConsumer(session.createQueue("automatic"));
        connection.start();
        next(consumer, 2);
        connection.close();
        return left(url);
    }

    /** Acknowledging one acknowledges all that the session received before it. */
    private static List<List<Integer>> byTheClient() throws JMSException {
        var url = filled("by-the-client");
        var connection = connection(0);
        var session = connection.createSession(false, Session.CLIENT_ACKNOWLEDGE);
        var consumer = session.createConsumer(session.createQueue("by-the-client"));
        connection.start();
        var received = next(consumer, COUNT);
        var before = left(url);
        received.get(1).acknowledge();
        var after = left(url);
        connection.close();
        return List.of(before, after);
    }

    /** Acknowledging one acknowledges that one. */
    private static List<Integer> unordered() throws JMSException {
        var url = filled("unordered");
        var connection = connection(0);
        var session = connection.createSession(false, SQSSession.UNORDERED_ACKNOWLEDGE);
        var consumer = session.createConsumer(session.createQueue("unordered"));
        connection.start();
        next(consumer, COUNT).get(1).acknowledge();
        var left = left(url);
        connection.close();
        return left;
    }

    /** What was received and not acknowledged is received again. */
    private static Map<String, Object> recovered() throws JMSException {
        var url = filled("recovered");
        var connection = connection(0);
        var session = connection.createSession(false, Session.CLIENT_ACKNOWLEDGE);
        var consumer = session.createConsumer(session.createQueue("recovered"));
        connection.start();
        next(consumer, COUNT).get(0).acknowledge();
        session.recover();
        var given = left(url);
        var again = next(consumer, COUNT - 1);
        var counts = new ArrayList<Integer>();
        for (Message message : again) {
            counts.add(message.getIntProperty("JMSXDeliveryCount"));
        }
        again.get(again.size() - 1).acknowledge();
        var left = left(url);
        connection.close();
        return Map.of(
                "given back", given,
                "again", texts(again).stream().sorted().toList(),
                "counts", counts,
                "left", left);
    }

    private static String filled(String name) {
        var url = newQueue(name, Map.of("VisibilityTimeout", "600"));
        for (var number = 0; number < COUNT; number++) {
            send(url, "" + number);
        }
        return url;
    }
}
