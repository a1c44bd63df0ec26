package jms;

import static common.Queues.newQueue;
import static jms.Jms.connection;

import common.Answer;
import jakarta.jms.JMSException;
import jakarta.jms.Session;
import java.util.List;

/** What the library makes of a refusal, and how its wrapper looks for queues and creates them. */
final class Refusals {
    @FunctionalInterface
    private interface Call {
        void run() throws JMSException;
    }

    public static void main(String[] arguments) throws JMSException {
        newQueue("refusing");
        var connection = connection(0);
        var session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        var producer = session.createProducer(session.createQueue("refusing"));
        var client = connection.getWrappedAmazonSQSClient();
        var before = client.queueExists("created");
        client.createQueue("created");
        new Answer()
                .say("missing queue", refusal(() -> session.createQueue("nowhere")))
                .say("bad characters", refusal(() -> producer.send(session.createTextMessage("\uffff"))))
                .say("too long", refusal(() -> producer.send(session.createTextMessage("a".repeat(1_100_000)))))
                .say("exists", List.of(before, client.queueExists("created")))
                .tell();
    }

    private static Object refusal(Call call) {
        try {
            call.run();
            return "carried out";
        } catch (JMSException refused) {
            var cause = refused.getCause() == null ? "" : refused.getCause().getClass().getSimpleName();
            return List.of(refused.getClass().getSimpleName(), cause);
        }
    }
}
