"""An async SQS client: the same interface over HTTP and inside the process."""
