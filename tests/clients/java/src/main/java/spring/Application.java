package spring;

import org.springframework.boot.WebApplicationType;
import org.springframework.boot.builder.SpringApplicationBuilder;
import org.springframework.context.ConfigurableApplicationContext;

/** An application of Spring Boot, which finds the endpoint, region and credentials in the environment. */
final class Application {
    private Application() {}

    /** Start what a scenario declares, with settings as in its application.properties. */
    static ConfigurableApplicationContext of(Class<?> scenario, String... settings) {
        return new SpringApplicationBuilder(scenario)
                .web(WebApplicationType.NONE)
                .logStartupInfo(false)
                // To close takes as long as a poll. Scenarios do so only where it is what they are about.
                .registerShutdownHook(false)
                .properties("spring.main.banner-mode=off", "logging.config=classpath:logback.xml")
                .properties(settings)
                .run();
    }
}
