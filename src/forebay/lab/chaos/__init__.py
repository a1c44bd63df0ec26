"""A proxy in front of any SQS that makes things go wrong, to test other people's consumers."""
