"""The scenarios, one a file: a claim, a setup, a fault and a verdict."""
