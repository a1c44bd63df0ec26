package spring;

import static common.Queues.newQueue;

import common.Answer;
import io.awspring.cloud.sqs.annotation.SqsListener;
import io.awspring.cloud.sqs.operations.SqsTemplate;
import java.util.ArrayList;
import java.util.List;
import org.springframework.boot.SpringBootConfiguration;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;

/** What Spring makes of a missing queue when it must not create it, and of a message that is refused. */
@SpringBootConfiguration(proxyBeanMethods = false)
@EnableAutoConfiguration
class Refusals {
    public static void main(String[] arguments) {
        newQueue("refusing");
        var context = Application.of(Refusals.class);
        var template = context.getBean(SqsTemplate.class);
        new Answer()
                .say("missing queue", causes(() -> Application.of(
                        Demanding.class, "spring.cloud.aws.sqs.queue-not-found-strategy=FAIL")))
                .say("bad characters", causes(() -> template.send("refusing", "\uffff")))
                .tell();
    }

    private static List<String> causes(Runnable call) {
        var causes = new ArrayList<String>();
        try {
            call.run();
        } catch (RuntimeException refused) {
            for (Throwable cause = refused; cause != null; cause = cause.getCause()) {
                causes.add(cause.getClass().getSimpleName());
            }
        }
        return causes;
    }
}

@SpringBootConfiguration(proxyBeanMethods = false)
@EnableAutoConfiguration
class Demanding {
    @SqsListener("nowhere")
    void onNothing(String body) {}
}
