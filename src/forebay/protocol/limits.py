"""Every quota and default of SQS that Forebay keeps: meaning, unit, source.

Sources, read 2026-11:

* Q-MESSAGES: SQSDeveloperGuide/quotas-messages.html
* Q-FIFO: SQSDeveloperGuide/quotas-fifo.html
* Q-QUEUES: SQSDeveloperGuide/quotas-queues.html
* API: AWSSimpleQueueService/latest/APIReference, the page of the action named
"""

from __future__ import annotations

from decimal import Decimal

#: Longest queue name, in characters, the `.fifo` suffix included. Q-QUEUES.
QUEUE_NAME_CHARACTERS_MAX = 80

#: Most messages, entries or results in one batch call and one receive. Q-MESSAGES.
BATCH_ENTRIES_MAX = 10

#: Longest entry id in a batch, in characters. API SendMessageBatch.
BATCH_ENTRY_ID_CHARACTERS_MAX = 80

#: Largest message, and largest sum of the messages of one batch, in bytes. Q-MESSAGES.
MESSAGE_BYTES_MAX = 1_048_576

#: Lowest value of MaximumMessageSize, in bytes. API SetQueueAttributes.
MAXIMUM_MESSAGE_SIZE_BYTES_MIN = 1_024

#: Most user attributes on one message. Q-MESSAGES.
MESSAGE_ATTRIBUTES_MAX = 10

#: Longest name of a message attribute, in characters. SQSDeveloperGuide/sqs-message-metadata.html.
MESSAGE_ATTRIBUTE_NAME_CHARACTERS_MAX = 256

#: Longest data type of a message attribute, label included, in characters. The same page.
MESSAGE_ATTRIBUTE_TYPE_CHARACTERS_MAX = 256

#: Most significant digits of a Number attribute, and the smallest and largest number that it may be
#: but for zero, whatever its sign. The same page.
NUMBER_DIGITS_MAX = 38
NUMBER_MIN = Decimal("1e-128")
NUMBER_MAX = Decimal("1e126")

#: Longest MessageGroupId, MessageDeduplicationId and ReceiveRequestAttemptId, in characters. API.
TOKEN_CHARACTERS_MAX = 128

#: How long a message stays hidden after a receive unless somebody says otherwise, in seconds. API.
VISIBILITY_TIMEOUT_SECONDS_DEFAULT = 30
#: Longest visibility timeout, and the longest a message may stay in flight, in seconds. API.
VISIBILITY_TIMEOUT_SECONDS_MAX = 43_200

#: Longest delay before a sent message can be received, in seconds. API.
DELAY_SECONDS_MAX = 900

#: Retention of a message, in seconds: default four days, one minute to fourteen days. API.
MESSAGE_RETENTION_SECONDS_DEFAULT = 345_600
MESSAGE_RETENTION_SECONDS_MIN = 60
MESSAGE_RETENTION_SECONDS_MAX = 1_209_600

#: Longest long poll, in seconds. API ReceiveMessage.
WAIT_TIME_SECONDS_MAX = 20

#: Most messages in flight in one queue. Q-MESSAGES for standard, Q-FIFO for FIFO.
IN_FLIGHT_MESSAGES_MAX = 120_000

#: How long a deduplication id is remembered, in milliseconds. API SendMessage.
DEDUPLICATION_INTERVAL_MS = 300_000

#: How long a ReceiveRequestAttemptId is remembered, in milliseconds. API ReceiveMessage.
RECEIVE_ATTEMPT_INTERVAL_MS = 300_000

#: Least time between two purges of one queue, in milliseconds. API PurgeQueue.
PURGE_INTERVAL_MS = 60_000

#: Least time between deleting a queue and creating it again, in milliseconds. API CreateQueue.
RECREATE_INTERVAL_MS = 60_000

#: Range of maxReceiveCount in a redrive policy. API SetQueueAttributes.
MAX_RECEIVE_COUNT_MIN = 1
MAX_RECEIVE_COUNT_MAX = 1_000

#: Most source queues that a redriveAllowPolicy may name. API SetQueueAttributes.
REDRIVE_ALLOW_SOURCES_MAX = 10

#: Most queues in one page of ListQueues. API ListQueues.
LIST_RESULTS_MAX = 1_000

#: Most tags on one queue, and the longest key and value, in characters. API TagQueue and
#: SQSDeveloperGuide/sqs-queue-tags.html.
TAGS_MAX = 50
TAG_KEY_CHARACTERS_MAX = 128
TAG_VALUE_CHARACTERS_MAX = 256

#: Longest label of a permission, in characters, and most actions in one. API AddPermission.
PERMISSION_LABEL_CHARACTERS_MAX = 80
PERMISSION_ACTIONS_MAX = 7

#: Quotas of a queue's policy: its length in bytes, its statements, and the principals and the
#: conditions in each of them; the quota of actions is that of a permission.
#: SQSDeveloperGuide/quotas-policies.html.
POLICY_BYTES_MAX = 8_192
POLICY_STATEMENTS_MAX = 20
POLICY_PRINCIPALS_MAX = 50
POLICY_CONDITIONS_MAX = 10

#: Fastest message move task, in messages a second. API StartMessageMoveTask.
MOVE_TASK_MESSAGES_PER_SECOND_MAX = 500

#: Most move tasks in one answer. API ListMessageMoveTasks.
MOVE_TASK_RESULTS_MAX = 10

#: How long a data key may be reused, in seconds: default five minutes, one minute to a day. API.
KMS_DATA_KEY_REUSE_SECONDS_DEFAULT = 300
KMS_DATA_KEY_REUSE_SECONDS_MIN = 60
KMS_DATA_KEY_REUSE_SECONDS_MAX = 86_400

#: Largest request body that is read before the request is refused, in bytes. A message of
#: MESSAGE_BYTES_MAX grows when JSON escapes it, and a refusal must still name the real cause.
REQUEST_BODY_BYTES_MAX = 8 * MESSAGE_BYTES_MAX

#: What AWS calls one request when it bills, in bytes. https://aws.amazon.com/sqs/pricing/
BILLED_CHUNK_BYTES = 65_536
