"""Where the changes of the engine become durable."""
