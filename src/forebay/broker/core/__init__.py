"""SQS's semantics as plain synchronous code: no I/O, no clock, no threads. Time is an argument."""
