package jms;

import static common.Queues.left;
import static common.Queues.newQueue;
import static common.Queues.send;
import static jms.Jms.connection;
import static jms.Jms.next;

import com.amazon.sqs.javamessaging.SQSQueueDestination;
import common.Answer;
import jakarta.jms.BytesMessage;
import jakarta.jms.Message;
import jakarta.jms.ObjectMessage;
import jakarta.jms.Session;
import jakarta.jms.TextMessage;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/** Texts, bytes, objects and their properties go through a queue, and so does what is no JMS message. */
final class Messages {
    public static void main(String[] arguments) throws Exception {
        var url = newQueue("mixed");
        newQueue("answers");
        var connection = connection(0);
        var session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        var queue = session.createQueue("mixed");
        var producer = session.createProducer(queue);
        var consumer = session.createConsumer(queue);
        connection.start();

        var text = session.createTextMessage("hello 日本 <&>\r\n");
        text.setStringProperty("title", "Götterdämmerung & co");
        text.setIntProperty("row", 12);
        text.setDoubleProperty("price", 12.5);
        text.setBooleanProperty("balcony", true);
        text.setJMSCorrelationID("correlated");
        text.setJMSReplyTo(session.createQueue("answers"));
        producer.send(text);
        var sameText = (TextMessage) next(consumer);

        var bytes = session.createBytesMessage();
        bytes.writeBytes(new byte[] {0, -1, 13, 10});
        producer.send(bytes);
        var sameBytes = new byte[4];
        ((BytesMessage) next(consumer)).readBytes(sameBytes);

        producer.send(session.createObjectMessage(new java.util.ArrayList<>(List.of("a", 1))));
        var sameObject = ((ObjectMessage) next(consumer)).getObject();

        send(url, "from another client");
        var foreign = (TextMessage) next(consumer);

        producer.setDeliveryDelay(900_000);
        producer.send(session.createTextMessage("late"));
        var nothing = consumer.receiveNoWait();

        var asynchronous = new CompletableFuture<Message>();
        consumer.setMessageListener(asynchronous::complete);
        producer.setDeliveryDelay(0);
        producer.send(session.createTextMessage("to a listener"));
        var heard = (TextMessage) asynchronous.get();
        connection.close();

        new Answer()
                .say("same id", sameText.getJMSMessageID().equals(text.getJMSMessageID()))
                .say("text", sameText.getText())
                .say("title", sameText.getStringProperty("title"))
                .say("row", sameText.getIntProperty("row"))
                .say("price", sameText.getDoubleProperty("price"))
                .say("balcony", sameText.getBooleanProperty("balcony"))
                .say("correlation", sameText.getJMSCorrelationID())
                .say("reply to", ((SQSQueueDestination) sameText.getJMSReplyTo()).getQueueName())
                .say("redelivered", List.of(sameText.getJMSRedelivered(), sameText.getIntProperty("JMSXDeliveryCount")))
                .say("bytes", sameBytes)
                .say("object", sameObject)
                .say("foreign", foreign.getText())
                .say("before its time", nothing)
                .say("heard", heard.getText())
                .say("left", left(url))
                .tell();
    }
}
