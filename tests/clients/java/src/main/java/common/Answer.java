package common;

import java.util.LinkedHashMap;
import java.util.Map;
import tools.jackson.databind.json.JsonMapper;

/** What a scenario tells: by name, so that a test reads as a table. */
public final class Answer {
    private final Map<String, Object> said = new LinkedHashMap<>();

    public Answer say(String what, Object value) {
        said.put(what, value);
        return this;
    }

    /** Print it as one line, and end whatever still runs. */
    public void tell() {
        System.out.writeBytes(new JsonMapper().writeValueAsBytes(said));
        System.out.println();
        System.exit(0);
    }
}
