package spring;

import io.awspring.cloud.sqs.annotation.SqsListener;
import io.awspring.cloud.sqs.operations.SqsTemplate;
import org.springframework.boot.SpringBootConfiguration;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;

/** The smallest application, for settings in an application.properties. */
@SpringBootConfiguration(proxyBeanMethods = false)
@EnableAutoConfiguration
class Hello {
    @SqsListener("spring-jobs")
    void onMessage(String body) {
        System.out.println(body);
        // The listener's own thread is among those that an orderly exit waits for.
        Runtime.getRuntime().halt(0);
    }

    public static void main(String[] arguments) {
        Application.of(Hello.class).getBean(SqsTemplate.class).send("spring-jobs", "hello");
    }
}
