"""The applications that everything else serves."""
