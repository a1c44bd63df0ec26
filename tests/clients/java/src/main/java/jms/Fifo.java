package jms;

import static common.Queues.left;
import static common.Queues.newQueue;
import static jms.Jms.connection;
import static jms.Jms.next;
import static jms.Jms.texts;

import common.Answer;
import jakarta.jms.JMSException;
import jakarta.jms.Message;
import jakarta.jms.MessageProducer;
import jakarta.jms.Session;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** A group keeps its order through duplicates and recover. */
final class Fifo {
    public static void main(String[] arguments) throws JMSException {
        var url = newQueue("orders.fifo", Map.of("FifoQueue", "true", "VisibilityTimeout", "600"));
        // The group's next messages come only with the first: one by one they would not come at all.
        var connection = connection(10);
        var session = connection.createSession(false, Session.CLIENT_ACKNOWLEDGE);
        var queue = session.createQueue("orders.fifo");
        var producer = session.createProducer(queue);
        for (var time = 0; time < 2; time++) {
            for (var number = 0; number < 4; number++) {
                send(session, producer, number);
            }
        }
        var consumer = session.createConsumer(queue);
        connection.start();
        var first = next(consumer, 3);
        first.get(0).acknowledge();
        session.recover();
        var again = next(consumer, 3);
        var numbers = new ArrayList<String>();
        var groups = new ArrayList<String>();
        for (Message message : again) {
            numbers.add(message.getStringProperty("JMS_SQS_SequenceNumber"));
            groups.add(message.getStringProperty("JMSXGroupID"));
        }
        again.get(2).acknowledge();
        var nothing = consumer.receive(500);
        // To close the connection would take as long as its poll for more messages.
        new Answer()
                .say("first", texts(first))
                .say("again", texts(again))
                .say("ascending", numbers.equals(numbers.stream().sorted().toList()))
                .say("groups", groups)
                .say("afterwards", nothing)
                .say("left", left(url))
                .tell();
    }

    private static void send(Session session, MessageProducer producer, int number) throws JMSException {
        var message = session.createTextMessage("order " + number);
        message.setStringProperty("JMSXGroupID", "section");
        message.setStringProperty("JMS_SQS_DeduplicationId", "order-" + number);
        producer.send(message);
    }
}
