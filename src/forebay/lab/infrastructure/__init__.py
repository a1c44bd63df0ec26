"""What scenarios need to be there: queues, tables, a broker, and where they are."""
