"""Who may do what: the signature of a request, the key's grant and the queue's policy, joined."""

from __future__ import annotations

from collections.abc import Callable
from hmac import compare_digest

from msgspec import Struct

from forebay.broker.keys import Keys
from forebay.broker.policy import Context, Principal, decide, parse_policy
from forebay.protocol import errors
from forebay.protocol.actions import (
    ACTION_OF,
    AnyRequest,
    CancelMessageMoveTaskRequest,
    CreateQueueRequest,
    GetQueueUrlRequest,
    ListMessageMoveTasksRequest,
    ListQueuesRequest,
    StartMessageMoveTaskRequest,
)
from forebay.protocol.errors import SqsError
from forebay.protocol.identifiers import (
    QueueKey,
    decode_task_handle,
    queue_arn,
    queue_key_from_arn,
    queue_key_from_url,
)
from forebay.protocol.sigv4_verify import HttpRequest, verify

#: What a message move task does with its source, besides its own action.
#: Source: SQSDeveloperGuide/sqs-api-permissions-reference.html
_MOVING = ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")


class Identity(Struct, frozen=True):
    """Who signed a request, and for which region."""

    access_key_id: str
    region: str
    principal: Principal


class ProtectedQueue(Struct, frozen=True):
    """What there is to know of a queue before somebody is let in."""

    arn: str
    #: The text of its Policy; None when it has none.
    policy: str | None


class Access:
    """The door of a broker. Without keys it stands open: anyone may do anything.

    With keys, the metrics are for who signs, for who has `metrics_token`, or for all if they are
    open.
    """

    def __init__(
        self,
        keys: Keys | None = None,
        *,
        metrics_token: bytes | None = None,
        open_metrics: bool = False,
    ) -> None:
        self._keys = keys
        self._metrics_token = metrics_token
        self._open_metrics = open_metrics
        self._credentials = {name: key.credentials for name, key in (keys or {}).items()}

    @property
    def has_keys(self) -> bool:
        """Whether requests must be signed."""
        return self._keys is not None

    def shows_metrics(self, authorization: bytes) -> bool:
        """Whether metrics are shown without a signature, to a request with this Authorization.

        Raises SqsError (InvalidClientTokenId) for a bearer token that is not the right one.
        """
        if self._open_metrics:
            return True
        scheme, _, token = authorization.partition(b" ")
        if self._metrics_token is None or scheme.lower() != b"bearer":
            return False
        if not compare_digest(token.strip(), self._metrics_token):
            raise SqsError(
                errors.INVALID_CLIENT_TOKEN_ID,
                "The bearer token is not the one in the file of --metrics-token.",
            )
        return True

    def authenticate(self, request: HttpRequest, wall_ms: int) -> Identity | None:
        """Who sent a request; None where anyone may.

        `wall_ms` is the time since the Unix epoch. Raises SqsError as `sigv4_verify.verify` does.
        """
        if self._keys is None:
            return None
        signer = verify(request, self._credentials.get, wall_ms)
        return Identity(
            signer.access_key_id, signer.region, self._keys[signer.access_key_id].principal
        )

    def authorize(
        self,
        identity: Identity | None,
        request: AnyRequest,
        find_queue: Callable[[QueueKey], ProtectedQueue | None],
        context: Context,
    ) -> None:
        """Return when the request is allowed.

        A batch is allowed when its single action is. A queue that does not exist is judged as one
        without a policy. Raises SqsError (AccessDenied).
        """
        if identity is None:
            return
        for action, key in permissions_needed(
            request, identity.principal.account_id, identity.region
        ):
            queue = find_queue(key) or ProtectedQueue(queue_arn(key), None)
            policy = parse_policy(queue.policy)
            denial = decide(identity.principal, action, key, queue.arn, policy, context)
            if denial is not None:
                name = f"sqs:{action.lower()}"
                raise SqsError(
                    errors.ACCESS_DENIED,
                    f"User: {identity.principal.arn} is not authorized to perform: {name}"
                    f" on resource: {queue.arn} {denial.value.format(action=name)}",
                )


def permissions_needed(
    request: AnyRequest, account_id: str, region: str
) -> list[tuple[str, QueueKey]]:
    """The actions that an account's request in a region comes to, and the queues they are done to.

    ListQueues is done to a queue without a name. What names no queue needs no permission: it will
    find none.
    """
    action = ACTION_OF[type(request)].name.removesuffix("Batch")
    match request:
        case CreateQueueRequest():
            key = QueueKey(region, account_id, request.queue_name)
            return [(action, key), ("TagQueue", key)] if request.tags else [(action, key)]
        case GetQueueUrlRequest():
            owner = request.queue_owner_aws_account_id or account_id
            return [(action, QueueKey(region, owner, request.queue_name))]
        case ListQueuesRequest():
            return [(action, QueueKey(region, account_id, ""))]
        case StartMessageMoveTaskRequest():
            return [
                *_on_arn(request.source_arn, action, *_MOVING),
                *_on_arn(request.destination_arn or "", "SendMessage"),
            ]
        case ListMessageMoveTasksRequest():
            return _on_arn(request.source_arn, action, *_MOVING)
        case CancelMessageMoveTaskRequest():
            handle = decode_task_handle(request.task_handle)
            return _on_arn(handle.source_arn if handle is not None else "", action, *_MOVING)
        case _:
            named = queue_key_from_url(request.queue_url, region, account_id)
            return [] if named is None else [(action, named)]


def _on_arn(arn: str, *actions: str) -> list[tuple[str, QueueKey]]:
    key = queue_key_from_arn(arn)
    return [] if key is None else [(action, key) for action in actions]
