"""`forebay lab`: every way in which queues fail, as a scenario with a verdict."""
