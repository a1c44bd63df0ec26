"""Errors about queues, their attributes, tags and permissions, in AWS's own words where known.

People match on them. Each row says where the words come from: answers that AWS gave, as others have
recorded them or written them into the tests of their own brokers.
"""

from __future__ import annotations

import json

import pytest

from forebay.broker.core.engine import Caller
from forebay.protocol import errors
from forebay.protocol.actions import (
    AddPermissionRequest,
    AnyRequest,
    CreateQueueRequest,
    DeleteQueueRequest,
    GetQueueAttributesRequest,
    GetQueueUrlRequest,
    ListDeadLetterSourceQueuesRequest,
    ListQueuesRequest,
    PurgeQueueRequest,
    RemovePermissionRequest,
    SetQueueAttributesRequest,
    TagQueueRequest,
    UntagQueueRequest,
)
from forebay.protocol.errors import Fault, SqsError
from tests.core.harness import ENDPOINT_URL, Sqs, arn_of, url_of

LOCALSTACK = "github.com/localstack/localstack tests/aws/services/sqs/test_sqs.snapshot.json"
MOTO = "github.com/getmoto/moto tests/test_sqs/test_sqs.py"
LOCAL = "github.com/Inqnuam/local-aws-sqs test/"
EUCALYPTUS = "github.com/eucalyptus/eucalyptus SimpleQueueService.java"
AWACS = "github.com/cloudtools/awacs/issues/34"
MINISTRY = "github.com/ministryofjustice/cloud-platform-environments/pull/9082"
DAPR = "github.com/dapr/components-contrib/issues/1780"
CLOUDFOX = "github.com/BishopFox/cloudfoxable/issues/29"
CDK = "github.com/aws/aws-cdk/issues/11041"
BOTOCORE = "github.com/boto/botocore/issues/3058"
TERRAFORM = "github.com/hashicorp/terraform-provider-aws/pull/42209"

ACCOUNT = "111122223333"
STATEMENT = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": "*"}
FORMAT = (
    "Invalid value for the parameter RedriveAllowPolicy. Reason: Amazon SQS can't create the"
    " redrive allow policy, as it\u2019s in an unsupported format."
)
BY_NO_QUEUE: list[dict[str, object]] = [
    {"redrivePermission": "byQueue"},
    {"redrivePermission": "byQueue", "sourceQueueArns": []},
]
TAG_CHARACTERS = (
    "may only contain unicode letters, digits, whitespace, or one of these symbols: _ . : / = + - @"
)


def sqs_with_queues() -> Sqs:
    sqs = Sqs(recreate_interval_ms=60_000)
    for name in ("jobs", "jobs.fifo", "dead", "dead.fifo", "purged", "gone", "emptied", "a", "b"):
        sqs.create(name)
    sqs.call(PurgeQueueRequest(queue_url=url_of("purged")))
    sqs.call(DeleteQueueRequest(queue_url=url_of("gone")))
    for name, label in (("jobs", "taken"), ("emptied", "label")):
        sqs.call(permission(label=label, queue=name))
    sqs.call(RemovePermissionRequest(queue_url=url_of("emptied"), label="label"))
    theirs = Caller("999999999999", "us-east-1", ENDPOINT_URL)
    sqs.engine.apply(CreateQueueRequest(queue_name="theirs"), theirs, sqs.now_ms)
    return sqs


def create(name: str, /, **attributes: str) -> AnyRequest:
    return CreateQueueRequest(queue_name=name, attributes=attributes)


def change(name: str, /, **attributes: str) -> AnyRequest:
    return SetQueueAttributesRequest(queue_url=url_of(name), attributes=attributes)


def redrive(arn: str = arn_of("dead"), count: object = 5, **more: object) -> str:
    return json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": count, **more})


def policy(*statements: object) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def permission(
    *actions: str, label: str = "label", accounts: tuple[str, ...] = (ACCOUNT,), queue: str = "jobs"
) -> AnyRequest:
    return AddPermissionRequest(
        queue_url=url_of(queue),
        label=label,
        aws_account_ids=list(accounts),
        actions=list(actions or ("SendMessage",)),
    )


def tag(key: str, value: str = "") -> AnyRequest:
    return TagQueueRequest(queue_url=url_of("jobs"), tags={key: value})


def token_of(prefix: str) -> str:
    answer = sqs_with_queues().call(ListQueuesRequest(queue_name_prefix=prefix, max_results=1))
    assert answer.next_token is not None  # type: ignore[union-attr]
    return str(answer.next_token)  # type: ignore[union-attr]


Row = tuple[AnyRequest, Fault, str, str]

NAMES: list[Row] = [
    (create(""), errors.INVALID_PARAMETER_VALUE,
     "Queue name cannot be empty.", EUCALYPTUS),
    (create("jobs!"), errors.INVALID_PARAMETER_VALUE,
     "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
     BOTOCORE),
    (create("new.fifo"), errors.INVALID_PARAMETER_VALUE,
     "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
     BOTOCORE),
    (create("new", FifoQueue="true"), errors.INVALID_PARAMETER_VALUE,
     "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores,"
     " must end with .fifo suffix and be 1 to 80 in length.", CDK),
    (create("gone"), errors.QUEUE_DELETED_RECENTLY,
     "You must wait 60 seconds after deleting a queue before you can create another with the same"
     " name.", LOCAL + "delete-queue.test.ts"),
    (GetQueueUrlRequest(queue_name="nowhere"), errors.QUEUE_DOES_NOT_EXIST,
     "The specified queue does not exist.", LOCALSTACK),
    (GetQueueUrlRequest(queue_name=""), errors.INVALID_PARAMETER_VALUE,
     "Value for parameter QueueName is invalid. Reason: Must specify a queue name.",
     LOCAL + "get-queue-url.test.ts"),
    (PurgeQueueRequest(queue_url=url_of("purged")), errors.PURGE_QUEUE_IN_PROGRESS,
     "Only one PurgeQueue operation on purged is allowed every 60 seconds.", LOCALSTACK),
]  # fmt: skip

CREATED_AGAIN: list[Row] = [
    (create("jobs", DelaySeconds="1"), errors.QUEUE_NAME_EXISTS,
     "A queue already exists with the same name and a different value for attribute DelaySeconds",
     LOCALSTACK),
    (create("jobs.fifo", FifoQueue="true", ContentBasedDeduplication="false"),
     errors.QUEUE_NAME_EXISTS,
     "A queue already exists with the same name and a different value for attribute"
     " ContentBasedDeduplication", LOCALSTACK),
    (CreateQueueRequest(queue_name="jobs", tags={"team": "a"}), errors.QUEUE_NAME_EXISTS,
     "A queue already exists with the same name and a different value for tags",
     "github.com/Inqnuam/local-aws-sqs src/lib/createQueue.ts"),
]  # fmt: skip

ATTRIBUTES: list[Row] = [
    (change("jobs", DelaySeconds="901"), errors.INVALID_ATTRIBUTE_VALUE,
     "Invalid value for the parameter DelaySeconds.", LOCAL + "create-queue.test.ts"),
    (change("jobs", SqsManagedSseEnabled="yes"), errors.INVALID_ATTRIBUTE_VALUE,
     "Invalid value for the parameter SqsManagedSseEnabled.",
     "github.com/Inqnuam/local-aws-sqs src/common/utils.ts"),
    (change("jobs", KmsDataKeyReusePeriodSeconds="59"), errors.INVALID_ATTRIBUTE_VALUE,
     "Invalid value for the parameter KmsDataKeyReusePeriodSeconds.",
     LOCAL + "create-queue.test.ts"),
    (change("jobs", FifoQueue="false"), errors.INVALID_ATTRIBUTE_NAME,
     "Unknown Attribute FifoQueue.", LOCALSTACK),
    (change("jobs.fifo", FifoQueue="false"), errors.INVALID_ATTRIBUTE_VALUE,
     "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported.",
     LOCALSTACK),
    (change("jobs", FifoThroughputLimit="perQueue"), errors.INVALID_ATTRIBUTE_NAME,
     "You can specify the FifoThroughputLimit only when FifoQueue is set to true.",
     LOCAL + "set-queue-attributes.test.ts"),
    (change("jobs", DeduplicationScope="queue"), errors.INVALID_ATTRIBUTE_NAME,
     "You can specify the DeduplicationScope only when FifoQueue is set to true.",
     LOCAL + "set-queue-attributes.test.ts"),
    (change("jobs.fifo", FifoThroughputLimit="perMessageGroupId"), errors.INVALID_ATTRIBUTE_VALUE,
     "The perMessageGroupId value is allowed only when the value for DeduplicationScope is"
     " messageGroup", LOCAL + "set-queue-attributes.test.ts"),
    (change("jobs", KmsMasterKeyId="alias/mine", SqsManagedSseEnabled="true"),
     errors.INVALID_ATTRIBUTE_NAME,
     "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS"
     " SSE or SQS SSE.", LOCALSTACK),
    (change("jobs"), errors.MISSING_PARAMETER,
     "The request must contain the parameter Attribute.Name.",
     LOCAL + "set-queue-attributes.test.ts"),
    (GetQueueAttributesRequest(queue_url=url_of("jobs"), attribute_names=["Colour"]),
     errors.INVALID_ATTRIBUTE_NAME, "Unknown Attribute Colour.", MOTO),
]  # fmt: skip


def refused_redrive(value: str, reason: str, source: str = LOCAL + "create-queue.test.ts") -> Row:
    text = f"Value {value} for parameter RedrivePolicy is invalid. Reason: {reason}"
    return create("new", RedrivePolicy=value), errors.INVALID_PARAMETER_VALUE, text, source


def refused_allow(value: dict[str, object], reason: str) -> Row:
    text = json.dumps(value)
    message = (
        f"Value {text} for parameter RedriveAllowPolicy is invalid. Reason: Amazon SQS can't create"
        f" the redrive allow policy. {reason}"
    )
    request = create("new", RedriveAllowPolicy=text)
    return request, errors.INVALID_PARAMETER_VALUE, message, LOCAL + "create-queue.test.ts"


REDRIVE: list[Row] = [
    *(
        (create("new", RedrivePolicy=text), errors.INVALID_ATTRIBUTE_VALUE,
         "Invalid value for the parameter RedrivePolicy. Reason: Redrive policy is not a valid JSON"
         " map.", LOCAL + "create-queue.test.ts")
        for text in (" ", "[]", "4", '"x"')
    ),
    refused_redrive("{}", "Redrive policy does not contain mandatory attribute: maxReceiveCount."),
    refused_redrive('{"maxReceiveCount": 5}',
                    "Redrive policy does not contain mandatory attribute: deadLetterTargetArn."),
    *(
        refused_redrive(redrive(count=count),
                        f"Invalid value for maxReceiveCount: {shown}, valid values are from 1 to"
                        " 1000 both inclusive.")
        for count, shown in (
            (0, "0"), (-36, "-36"), (1001, "1001"), ("many", "many"), ("1_0", "1_0"), ("+5", "+5"),
            (2.5, "2.5"), (True, "true"), (None, "null"),
        )
    ),
    refused_redrive(redrive("dummy"), "Invalid value for deadLetterTargetArn.", LOCALSTACK),
    refused_redrive(redrive("arn:aws:sns:us-east-1:123456789012:MyTopic"),
                    "Only SQS queues are valid resources for deadLetterTargetArn."),
    refused_redrive(redrive(colour="red"),
                    "Only following attributes are supported:"
                    " [maxReceiveCount, deadLetterTargetArn]."),
    *(
        (create("new", RedriveAllowPolicy=text), errors.INVALID_ATTRIBUTE_VALUE, FORMAT,
         LOCAL + "create-queue.test.ts")
        for text in (
            "badjson", "[]", "{}", '{"redrivePermission":"dummy"}',
            '{"redrivePermission":"allowAll","dummy":"value"}',
            '{"redrivePermission":"byQueue","sourceQueueArns":"arn:aws:sqs"}',
            '{"redrivePermission":"byQueue","sourceQueueArns":[{"dummy":"value"}]}',
            '{"redrivePermission":"byQueue","sourceQueueArns":["jobs"]}',
        )
    ),
    *(
        refused_allow(value, "When you specify the byQueue permission type, you must also specify"
                             " one or more sourceQueueArns values.")
        for value in BY_NO_QUEUE
    ),
    *(
        refused_allow({"redrivePermission": permission, "sourceQueueArns": [arn_of("jobs")]},
                      "To specify one or more source queue ARNs, you must set redrivePermission to"
                      " byQueue.")
        for permission in ("allowAll", "denyAll")
    ),
    refused_allow({"redrivePermission": "byQueue", "sourceQueueArns": [arn_of("jobs")] * 11},
                  "The maximum number of source queue ARNs you can specify is 10."),
]  # fmt: skip


TARGETS: list[Row] = [
    refused_redrive(redrive(arn_of("nowhere"), "5"), "Dead letter target does not exist."),
    refused_redrive(redrive(arn_of("dead.fifo")),
                    "Dead-letter queue must be same type of queue as the source.."),
    refused_redrive(redrive("arn:aws:sqs:us-east-1:999999999999:theirs"),
                    "Dead-letter target owner should be same as the source.", EUCALYPTUS),
    refused_redrive(redrive("arn:aws:sqs:eu-west-1:000000000000:dead"),
                    "Dead-letter target must be in same region as the source.", EUCALYPTUS),
]  # fmt: skip

TAGS: list[Row] = [
    (tag(""), errors.INVALID_PARAMETER_VALUE,
     "Tag keys must be between 1 and 128 characters in length.",
     "github.com/Inqnuam/local-aws-sqs src/actions/TagQueue.ts"),
    (tag("k" * 129), errors.INVALID_PARAMETER_VALUE,
     "Tag keys must be between 1 and 128 characters in length.",
     "github.com/Inqnuam/local-aws-sqs src/actions/TagQueue.ts"),
    (tag("team!"), errors.INVALID_PARAMETER_VALUE, f"Tag keys {TAG_CHARACTERS}",
     "github.com/Inqnuam/local-aws-sqs src/common/constants.ts"),
    (tag("team", "a,b"), errors.INVALID_PARAMETER_VALUE, f"Tag values {TAG_CHARACTERS}",
     "github.com/Inqnuam/local-aws-sqs src/lib/queue.ts"),
    (tag("aws:team"), errors.INVALID_PARAMETER_VALUE,
     "aws: prefixed tag key names are not allowed for external use.",
     "the rule in SQSDeveloperGuide/quotas-queues.html, in the words of other AWS services"),
    (TagQueueRequest(queue_url=url_of("jobs"), tags={str(n): "" for n in range(51)}),
     errors.INVALID_PARAMETER_VALUE, "Too many tags added for queue jobs.", MOTO),
    (TagQueueRequest(queue_url=url_of("jobs"), tags={}), errors.MISSING_PARAMETER,
     "The request must contain the parameter Tags.", MOTO),
    (UntagQueueRequest(queue_url=url_of("jobs"), tag_keys=[]), errors.INVALID_PARAMETER_VALUE,
     "Tag keys must be between 1 and 128 characters in length.", MOTO),
    (CreateQueueRequest(queue_name="new", tags={"team!": ""}), errors.INVALID_PARAMETER_VALUE,
     f"Tag keys {TAG_CHARACTERS}", "github.com/Inqnuam/local-aws-sqs src/lib/createQueue.ts"),
]  # fmt: skip

PERMISSIONS: list[Row] = [
    (permission(label=""), errors.MISSING_PARAMETER,
     "The request must contain the parameter Label.", LOCAL + "add-permission.test.ts"),
    (permission("DeleteMessage", label="taken"), errors.INVALID_PARAMETER_VALUE,
     "Value taken for parameter Label is invalid. Reason: Already exists.", LOCALSTACK),
    (permission("RemovePermission"), errors.INVALID_PARAMETER_VALUE,
     "Value SQS:RemovePermission for parameter ActionName is invalid. Reason: Only the queue owner"
     " is allowed to invoke this action.", MOTO),
    (permission("SendMessageBatch"), errors.INVALID_PARAMETER_VALUE,
     "Value SQS:SendMessageBatch for parameter ActionName is invalid. Reason: Please refer to the"
     " appropriate WSDL for a list of valid actions.", LOCAL + "add-permission.test.ts"),
    (AddPermissionRequest(queue_url=url_of("jobs"), label="l", aws_account_ids=[ACCOUNT],
                          actions=[]), errors.MISSING_PARAMETER,
     "The request must contain the parameter Actions.", MOTO),
    (permission(accounts=()), errors.INVALID_PARAMETER_VALUE,
     "Value [] for parameter PrincipalId is invalid. Reason: Unable to verify.", MOTO),
    (permission(accounts=("1", "x")), errors.INVALID_PARAMETER_VALUE,
     "Value [1, x] for parameter PrincipalId is invalid. Reason: Unable to verify.", EUCALYPTUS),
    (permission(*("SendMessage",) * 8), errors.OVER_LIMIT,
     "8 Actions were found, maximum allowed is 7.", MOTO),
    (RemovePermissionRequest(queue_url=url_of("dead"), label="label"),
     errors.INVALID_PARAMETER_VALUE,
     "Value label for parameter Label is invalid. Reason: can't find label on existing policy.",
     MOTO),
    (RemovePermissionRequest(queue_url=url_of("emptied"), label="label"),
     errors.INVALID_PARAMETER_VALUE,
     "Value label for parameter Label is invalid. Reason: can't find label.", LOCALSTACK),
    (RemovePermissionRequest(queue_url=url_of("dead"), label=""), errors.MISSING_PARAMETER,
     "The request must contain the parameter Label.", LOCAL + "remove-permission.test.ts"),
]  # fmt: skip

POLICIES: list[Row] = [
    (change("jobs", Policy="badjson"), errors.INVALID_ATTRIBUTE_VALUE,
     "Invalid value for the parameter Policy.", TERRAFORM),
    (change("jobs", Policy=policy(*[{**STATEMENT, "Sid": str(n)} for n in range(21)])),
     errors.OVER_LIMIT,
     "21 statements were found in the submitted policy, max allowed is 20", DAPR),
    (create("new", Policy=policy(*[{**STATEMENT, "Sid": str(n)} for n in range(22)])),
     errors.INVALID_PARAMETER_VALUE,
     "22 statements were found in the submitted policy, max allowed is 20",
     LOCAL + "create-queue.test.ts"),
    (change("jobs", Policy=policy({**STATEMENT, "Action": ["sqs:SendMessage"] * 10})),
     errors.OVER_LIMIT,
     "10 actions were found in a statement from the submitted policy, max allowed is 7", MINISTRY),
    (change("jobs", Policy=policy({**STATEMENT, "Sid": "x" * 8_192})), errors.OVER_LIMIT,
     "Submitted policy is over max allowed size.", CLOUDFOX),
    (change("jobs", Policy=policy({**STATEMENT, "Action": "sqs:ChangeMessageVisibilityBatch"})),
     errors.INVALID_PARAMETER_VALUE,
     "Value SQS:ChangeMessageVisibilityBatch for parameter ActionName is invalid. Reason: Please"
     " refer to the appropriate WSDL for a list of valid actions.", AWACS),
]  # fmt: skip

LISTS: list[Row] = [
    *(
        (request, errors.INVALID_PARAMETER_VALUE,
         "Value for parameter MaxResults is invalid. Reason: MaxResults must be an integer between"
         " 1 and 1000.", LOCAL + "list-dlq-source-queues.test.ts")
        for request in (
            ListQueuesRequest(max_results=-23),
            ListQueuesRequest(max_results=1001),
            ListDeadLetterSourceQueuesRequest(queue_url=url_of("dead"), max_results=1020),
        )
    ),
    (ListQueuesRequest(next_token=token_of("")), errors.INVALID_PARAMETER_VALUE,
     "MaxResults is a mandatory parameter when you provide a value for NextToken.",
     "github.com/Inqnuam/local-aws-sqs src/lib/queue.ts"),
    *(
        (ListQueuesRequest(next_token=token, max_results=1), errors.INVALID_PARAMETER_VALUE,
         "Invalid NextToken value.", "github.com/Inqnuam/local-aws-sqs src/lib/queue.ts")
        for token in ("a", "a?", "invalidtoken", "\u00e9", "am9i cw==", "am9icw==x")
    ),
    (ListQueuesRequest(next_token=token_of("dead"), max_results=1, queue_name_prefix="jobs"),
     errors.INVALID_PARAMETER_VALUE,
     "Invalid NextToken value. If you are passing in NextToken, you must not change the other"
     " request parameters.", "github.com/Inqnuam/local-aws-sqs src/lib/queue.ts"),
    (ListDeadLetterSourceQueuesRequest(queue_url=url_of("dead"), next_token="invalidtoken"),
     errors.INVALID_PARAMETER_VALUE, "Invalid or expired next token.",
     LOCAL + "list-dlq-source-queues.test.ts"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "fault", "text", "source"),
    [
        *(NAMES + CREATED_AGAIN + ATTRIBUTES + REDRIVE + TARGETS),
        *(TAGS + PERMISSIONS + POLICIES + LISTS),
    ],
)
def test_a_refusal_is_in_the_words_of_aws(
    request_: AnyRequest, fault: Fault, text: str, source: str
) -> None:
    with pytest.raises(SqsError) as refusal:
        sqs_with_queues().call(request_)
    assert (refusal.value.fault, refusal.value.message) == (fault, text), source


def test_a_policy_of_twenty_permissions_takes_no_more() -> None:
    # Source: github.com/Inqnuam/local-aws-sqs test/add-permission.test.ts
    sqs = Sqs()
    sqs.create("jobs")
    for number in range(20):
        sqs.call(permission(label=f"label-{number}"))
    with pytest.raises(SqsError) as refusal:
        sqs.call(permission(label="one-more"))
    assert refusal.value.fault is errors.OVER_LIMIT
    assert refusal.value.message == "21 Statements were found, maximum allowed is 20."
