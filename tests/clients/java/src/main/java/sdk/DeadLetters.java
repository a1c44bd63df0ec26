package sdk;

import static common.Queues.SQS;
import static common.Queues.arn;
import static common.Queues.await;
import static common.Queues.bodies;
import static common.Queues.hide;
import static common.Queues.newQueue;
import static common.Queues.receive;
import static common.Queues.send;

import common.Answer;
import java.util.Map;
import software.amazon.awssdk.services.sqs.model.MessageSystemAttributeName;

/** What fails twice goes to the dead-letter queue, and a task moves it back. */
final class DeadLetters {
    public static void main(String[] arguments) throws Exception {
        var dead = newQueue("jobs-dead");
        var url = newQueue("jobs", dead, 2, Map.of());
        send(url, "fails");
        for (var attempt = 0; attempt < 2; attempt++) {
            hide(url, receive(url).get(0), 0);
        }
        var third = receive(url);
        var found = receive(dead).get(0);
        hide(dead, found, 0);
        var sources = SQS.listDeadLetterSourceQueuesPaginator(request -> request.queueUrl(dead).maxResults(1))
                .queueUrls()
                .stream()
                .toList();
        SQS.startMessageMoveTask(request -> request.sourceArn(arn(dead)));
        await(() -> !status(dead).equals("RUNNING"));
        new Answer()
                .say("third receive", bodies(third))
                .say("dead", found.body())
                .say("came from", found.attributes()
                        .get(MessageSystemAttributeName.DEAD_LETTER_QUEUE_SOURCE_ARN)
                        .equals(arn(url)))
                .say("sources", sources.toString().equals("[" + url + "]"))
                .say("status", status(dead))
                .say("received again", bodies(receive(url)))
                .tell();
    }

    private static String status(String url) {
        return SQS.listMessageMoveTasks(request -> request.sourceArn(arn(url))).results().get(0).status();
    }
}
