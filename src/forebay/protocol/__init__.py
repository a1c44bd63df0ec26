"""The SQS contract that the broker and its clients share. Pure: no I/O."""
