"""What travels through the queues: shared by the producer, the worker and the writers."""
