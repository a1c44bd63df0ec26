"""The door of the broker: who is let in, to which queue, and what the others are told."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest
from msgspec.structs import replace

from forebay.broker.access import Access, Identity, ProtectedQueue, permissions_needed
from forebay.broker.keys import Key
from forebay.broker.policy import Context, Grant, Principal
from forebay.protocol import actions
from forebay.protocol.actions import ACTION_OF, ACTIONS, AnyRequest
from forebay.protocol.errors import ACCESS_DENIED, SqsError
from forebay.protocol.identifiers import QueueKey
from forebay.protocol.sigv4 import Credentials, sign
from forebay.protocol.sigv4_verify import HttpRequest

NOW_MS = 1_772_366_400_000
HERE, THERE = "111111111111", "222222222222"
OWNER = Credentials("AKIDOWNER", "the secret of the owner")
SENDER = Credentials("AKIDSENDER", "the secret of the sender")
PARTNER = Credentials("AKIDPARTNER", "the secret of the partner")
ACCESS = Access(
    {
        key.credentials.access_key_id: key
        for key in (
            Key(OWNER, Principal(HERE)),
            Key(SENDER, Principal(HERE, "sender", Grant(actions=("sqs:SendMessage",)))),
            Key(PARTNER, Principal(THERE)),
        )
    }
)
CONTEXT = Context("127.0.0.1", secure=False, wall_ms=NOW_MS)
REGION = "us-east-1"
JOBS = QueueKey(REGION, HERE, "jobs")
JOBS_URL = f"http://localhost:9324/{HERE}/jobs"
JOBS_ARN = f"arn:aws:sqs:{REGION}:{HERE}:jobs"
SHARED = json.dumps(
    {"Statement": {"Effect": "Allow", "Principal": {"AWS": THERE}, "Action": "sqs:*",
                   "Resource": JOBS_ARN}}
)  # fmt: skip
SEND = actions.SendMessageRequest(queue_url=JOBS_URL, message_body="x")


def request_of(credentials: Credentials, region: str = "us-east-1") -> HttpRequest:
    body = b"{}"
    added = sign(
        credentials,
        method="POST",
        path="/",
        query="",
        headers=[("host", "localhost:9324")],
        body=body,
        region=region,
        wall_ms=NOW_MS,
    )
    headers = {"host": "localhost:9324", **added}
    wire = {name.lower().encode(): value.encode() for name, value in headers.items()}
    return HttpRequest(b"POST", b"/", wire, body)


def identity_of(credentials: Credentials) -> Identity:
    identity = ACCESS.authenticate(request_of(credentials), NOW_MS)
    assert identity is not None
    return identity


def authorize(credentials: Credentials, request: AnyRequest, policy: str | None = None) -> None:
    queues = {JOBS: ProtectedQueue(JOBS_ARN, policy)}
    ACCESS.authorize(identity_of(credentials), request, queues.get, CONTEXT)


def refusal(credentials: Credentials, request: AnyRequest, policy: str | None = None) -> SqsError:
    with pytest.raises(SqsError) as raised:
        authorize(credentials, request, policy)
    return raised.value


def test_a_signed_request_tells_key_account_and_region() -> None:
    identity = ACCESS.authenticate(request_of(SENDER, "eu-west-3"), NOW_MS)
    assert identity == Identity(
        "AKIDSENDER", "eu-west-3", Principal(HERE, "sender", Grant(actions=("sqs:SendMessage",)))
    )
    assert identity.principal.arn == f"arn:aws:iam::{HERE}:user/sender"
    assert identity_of(OWNER).principal.arn == f"arn:aws:iam::{HERE}:root"


def test_a_request_that_does_not_verify_is_not_let_in() -> None:
    request = replace(request_of(OWNER), body=b"{ }")
    with pytest.raises(SqsError, match="SignatureDoesNotMatch"):
        ACCESS.authenticate(request, NOW_MS)


def test_without_keys_anyone_may_do_anything() -> None:
    access = Access()
    identity = access.authenticate(HttpRequest(b"GET", b"/", {}, b""), NOW_MS)
    assert identity is None
    queues = {JOBS: ProtectedQueue(JOBS_ARN, SHARED.replace("Allow", "Deny"))}
    access.authorize(identity, SEND, queues.get, CONTEXT)


def test_with_keys_and_no_signature_nobody_may_do_anything() -> None:
    with pytest.raises(SqsError, match="MissingAuthenticationToken"):
        ACCESS.authenticate(HttpRequest(b"GET", b"/", {}, b""), NOW_MS)


def test_an_owner_and_an_invited_account_are_let_in() -> None:
    authorize(OWNER, SEND)
    authorize(SENDER, SEND)
    authorize(PARTNER, SEND, SHARED)


def test_a_policy_opens_the_queue_of_its_region_alone() -> None:
    elsewhere = ACCESS.authenticate(request_of(PARTNER, "eu-west-1"), NOW_MS)
    queues = {JOBS: ProtectedQueue(JOBS_ARN, SHARED)}
    with pytest.raises(SqsError) as raised:
        ACCESS.authorize(elsewhere, SEND, queues.get, CONTEXT)
    assert raised.value.fault is ACCESS_DENIED
    assert f"arn:aws:sqs:eu-west-1:{HERE}:jobs" in raised.value.message


@pytest.mark.parametrize(
    ("credentials", "request_", "policy", "text"),
    [
        (
            SENDER,
            actions.ReceiveMessageRequest(queue_url=JOBS_URL),
            None,
            f"User: arn:aws:iam::{HERE}:user/sender is not authorized to perform:"
            f" sqs:receivemessage on resource: {JOBS_ARN} because no identity-based policy allows"
            " the sqs:receivemessage action",
        ),
        (
            PARTNER,
            SEND,
            None,
            f"User: arn:aws:iam::{THERE}:root is not authorized to perform: sqs:sendmessage on"
            f" resource: {JOBS_ARN} because no resource-based policy allows the sqs:sendmessage"
            " action",
        ),
        (
            PARTNER,
            SEND,
            SHARED.replace("Allow", "Deny"),
            f"User: arn:aws:iam::{THERE}:root is not authorized to perform: sqs:sendmessage on"
            f" resource: {JOBS_ARN} with an explicit deny in a resource-based policy",
        ),
        (
            PARTNER,
            actions.GetQueueUrlRequest(queue_name="nothing", queue_owner_aws_account_id=HERE),
            SHARED,
            f"User: arn:aws:iam::{THERE}:root is not authorized to perform: sqs:getqueueurl on"
            f" resource: arn:aws:sqs:us-east-1:{HERE}:nothing because no resource-based policy"
            " allows the sqs:getqueueurl action",
        ),
        (
            SENDER,
            actions.ListQueuesRequest(),
            None,
            f"User: arn:aws:iam::{HERE}:user/sender is not authorized to perform: sqs:listqueues"
            f" on resource: arn:aws:sqs:us-east-1:{HERE}: because no identity-based policy allows"
            " the sqs:listqueues action",
        ),
    ],
    ids=["by the key", "without a policy", "by the policy", "no such queue", "without a queue"],
)
def test_the_others_are_told_what_aws_tells_them(
    credentials: Credentials, request_: AnyRequest, policy: str | None, text: str
) -> None:
    error = refusal(credentials, request_, policy)
    assert error.fault is ACCESS_DENIED
    assert error.fault.http_status == 403
    assert error.message == text


HANDLE = b64encode(json.dumps({"taskId": "t", "sourceArn": JOBS_ARN}).encode()).decode()
OTHER = QueueKey(REGION, THERE, "other")
OTHER_ARN = f"arn:aws:sqs:{REGION}:{THERE}:other"
MOVING = ["ReceiveMessage", "DeleteMessage", "GetQueueAttributes"]

#: A request of account HERE, and the permissions that it comes to.
PERMISSIONS: list[tuple[AnyRequest, list[tuple[str, QueueKey]]]] = [
    (SEND, [("SendMessage", JOBS)]),
    (actions.SendMessageBatchRequest(queue_url=JOBS_URL, entries=[]), [("SendMessage", JOBS)]),
    (actions.ReceiveMessageRequest(queue_url="jobs"), [("ReceiveMessage", JOBS)]),
    (actions.DeleteMessageRequest(queue_url=JOBS_URL, receipt_handle="h"),
     [("DeleteMessage", JOBS)]),
    (actions.DeleteMessageBatchRequest(queue_url=JOBS_URL, entries=[]), [("DeleteMessage", JOBS)]),
    (actions.ChangeMessageVisibilityRequest(queue_url=JOBS_URL, receipt_handle="h",
                                            visibility_timeout=1),
     [("ChangeMessageVisibility", JOBS)]),
    (actions.ChangeMessageVisibilityBatchRequest(queue_url=JOBS_URL, entries=[]),
     [("ChangeMessageVisibility", JOBS)]),
    (actions.CreateQueueRequest(queue_name="jobs"), [("CreateQueue", JOBS)]),
    (actions.CreateQueueRequest(queue_name="jobs", tags={"a": "b"}),
     [("CreateQueue", JOBS), ("TagQueue", JOBS)]),
    (actions.GetQueueUrlRequest(queue_name="jobs"), [("GetQueueUrl", JOBS)]),
    (actions.GetQueueUrlRequest(queue_name="other", queue_owner_aws_account_id=THERE),
     [("GetQueueUrl", OTHER)]),
    (actions.ListQueuesRequest(), [("ListQueues", QueueKey(REGION, HERE, ""))]),
    (actions.DeleteQueueRequest(queue_url=f"http://x/{THERE}/other"), [("DeleteQueue", OTHER)]),
    (actions.PurgeQueueRequest(queue_url=JOBS_URL), [("PurgeQueue", JOBS)]),
    (actions.GetQueueAttributesRequest(queue_url=JOBS_URL), [("GetQueueAttributes", JOBS)]),
    (actions.SetQueueAttributesRequest(queue_url=JOBS_URL, attributes={}),
     [("SetQueueAttributes", JOBS)]),
    (actions.TagQueueRequest(queue_url=JOBS_URL, tags={}), [("TagQueue", JOBS)]),
    (actions.UntagQueueRequest(queue_url=JOBS_URL, tag_keys=[]), [("UntagQueue", JOBS)]),
    (actions.ListQueueTagsRequest(queue_url=JOBS_URL), [("ListQueueTags", JOBS)]),
    (actions.AddPermissionRequest(queue_url=JOBS_URL, label="l", aws_account_ids=[], actions=[]),
     [("AddPermission", JOBS)]),
    (actions.RemovePermissionRequest(queue_url=JOBS_URL, label="l"), [("RemovePermission", JOBS)]),
    (actions.ListDeadLetterSourceQueuesRequest(queue_url=JOBS_URL),
     [("ListDeadLetterSourceQueues", JOBS)]),
    (actions.StartMessageMoveTaskRequest(source_arn=JOBS_ARN),
     [(name, JOBS) for name in ["StartMessageMoveTask", *MOVING]]),
    (actions.StartMessageMoveTaskRequest(source_arn=JOBS_ARN, destination_arn=OTHER_ARN),
     [*((name, JOBS) for name in ["StartMessageMoveTask", *MOVING]), ("SendMessage", OTHER)]),
    (actions.CancelMessageMoveTaskRequest(task_handle=HANDLE),
     [(name, JOBS) for name in ["CancelMessageMoveTask", *MOVING]]),
    (actions.ListMessageMoveTasksRequest(source_arn=JOBS_ARN),
     [(name, JOBS) for name in ["ListMessageMoveTasks", *MOVING]]),
    (actions.SendMessageRequest(queue_url="", message_body="x"), []),
    (actions.ListMessageMoveTasksRequest(source_arn="no ARN"), []),
    (actions.CancelMessageMoveTaskRequest(task_handle="no handle"), []),
    (actions.CancelMessageMoveTaskRequest(task_handle="bm8ganNvbg=="), []),
    (actions.CancelMessageMoveTaskRequest(task_handle="\u00e9"), []),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "permissions"), PERMISSIONS)
def test_a_request_comes_to_permissions(
    request_: AnyRequest, permissions: list[tuple[str, QueueKey]]
) -> None:
    assert permissions_needed(request_, HERE, REGION) == permissions


def test_the_table_of_permissions_has_every_action() -> None:
    assert {ACTION_OF[type(request)].name for request, _ in PERMISSIONS} == set(ACTIONS)


def test_every_permission_of_a_request_is_needed() -> None:
    moving = actions.StartMessageMoveTaskRequest(source_arn=JOBS_ARN, destination_arn=OTHER_ARN)
    error = refusal(OWNER, moving)
    assert error.fault is ACCESS_DENIED
    assert f"sqs:sendmessage on resource: arn:aws:sqs:us-east-1:{THERE}:other" in error.message
