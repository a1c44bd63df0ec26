package jms;

import static common.Queues.SQS;

import com.amazon.sqs.javamessaging.ProviderConfiguration;
import com.amazon.sqs.javamessaging.SQSConnection;
import com.amazon.sqs.javamessaging.SQSConnectionFactory;
import jakarta.jms.JMSException;
import jakarta.jms.Message;
import jakarta.jms.MessageConsumer;
import jakarta.jms.TextMessage;
import java.util.ArrayList;
import java.util.List;

/** What every scenario of the messaging library begins with. */
final class Jms {
    /** How long a receive waits that should not have to, in milliseconds. */
    private static final long PATIENCE_MS = 20_000;

    private Jms() {}

    /** A connection that takes so many messages ahead of its consumers. */
    static SQSConnection connection(int prefetched) throws JMSException {
        var configuration = new ProviderConfiguration().withNumberOfMessagesToPrefetch(prefetched);
        return new SQSConnectionFactory(configuration, SQS).createConnection();
    }

    static Message next(MessageConsumer consumer) throws JMSException {
        return consumer.receive(PATIENCE_MS);
    }

    static List<Message> next(MessageConsumer consumer, int count) throws JMSException {
        var messages = new ArrayList<Message>();
        while (messages.size() < count) {
            messages.add(next(consumer));
        }
        return messages;
    }

    static List<String> texts(List<Message> messages) throws JMSException {
        var texts = new ArrayList<String>();
        for (var message : messages) {
            texts.add(((TextMessage) message).getText());
        }
        return texts;
    }
}
