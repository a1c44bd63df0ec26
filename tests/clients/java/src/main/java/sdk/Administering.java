package sdk;

import static common.Queues.SQS;
import static common.Queues.attribute;
import static common.Queues.newQueue;

import common.Answer;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.IntStream;
import software.amazon.awssdk.services.sqs.model.QueueAttributeName;

/** Lists in pages, tags, permissions and attributes. */
final class Administering {
    public static void main(String[] arguments) {
        var created = IntStream.range(0, 5).mapToObj(number -> newQueue("listed-" + number)).toList();
        var pages = SQS.listQueuesPaginator(request -> request.queueNamePrefix("listed-").maxResults(2));
        var listed = pages.queueUrls().stream().sorted().toList();

        var tagged = SQS.createQueue(request -> request.queueName("tagged")
                        .tags(Map.of("team", "shop", "stage", "test")))
                .queueUrl();
        SQS.tagQueue(request -> request.queueUrl(tagged).tags(Map.of("cost centre", "12 + 13", "empty", "")));
        SQS.untagQueue(request -> request.queueUrl(tagged).tagKeys("stage", "unknown"));
        var tags = SQS.listQueueTags(request -> request.queueUrl(tagged)).tags();

        SQS.addPermission(request -> request.queueUrl(tagged)
                .label("partners")
                .awsAccountIds("111111111111")
                .actions("SendMessage"));
        var policy = attribute(tagged, QueueAttributeName.POLICY);
        SQS.removePermission(request -> request.queueUrl(tagged).label("partners"));

        SQS.setQueueAttributes(request -> request.queueUrl(tagged)
                .attributes(Map.of(QueueAttributeName.VISIBILITY_TIMEOUT, "77")));
        var read = SQS.getQueueAttributes(request -> request.queueUrl(tagged)
                .attributeNames(QueueAttributeName.VISIBILITY_TIMEOUT, QueueAttributeName.DELAY_SECONDS));
        new Answer()
                .say("listed", listed.equals(created))
                .say("pages", pages.stream().count())
                .say("tags", new TreeMap<>(tags))
                .say("permission", List.of(policy.contains("\"partners\""), policy.contains("SQS:SendMessage")))
                .say("policy when gone", attribute(tagged, QueueAttributeName.POLICY))
                .say("changed", read.attributesAsStrings())
                .tell();
    }
}
