"""Every error SQS can answer with, in one table.

JSON clients read two names: the shape in the body's `__type`, and the older query code in the
`x-amzn-query-error` header, which SDKs show as the error's code. Both stand here beside the status
and whose fault it is.

Source: the error shapes of each action in the SQS API reference, and
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html
"""

from __future__ import annotations

from msgspec import Struct

from forebay.errors import ForebayError


class Fault(Struct, frozen=True):
    """One row of the table: an error as both protocols name it."""

    #: The shape's name, after `com.amazonaws.sqs#` in `__type`.
    name: str
    #: The code of the Query protocol, and the one SDKs show.
    query_code: str
    #: The default text.
    text: str
    http_status: int = 400
    #: True when the request is at fault, so that repeating it cannot help.
    sender: bool = True


_PREFIX = "AWS.SimpleQueueService."

QUEUE_DOES_NOT_EXIST = Fault(
    "QueueDoesNotExist", _PREFIX + "NonExistentQueue", "The specified queue does not exist."
)
QUEUE_NAME_EXISTS = Fault(
    "QueueNameExists",
    "QueueAlreadyExists",
    "A queue already exists with the same name and a different value for an attribute.",
)
QUEUE_DELETED_RECENTLY = Fault(
    "QueueDeletedRecently",
    _PREFIX + "QueueDeletedRecently",
    "You must wait 60 seconds after deleting a queue before you can create another with the same"
    " name.",
)
PURGE_QUEUE_IN_PROGRESS = Fault(
    "PurgeQueueInProgress",
    _PREFIX + "PurgeQueueInProgress",
    "Only one PurgeQueue operation is allowed every 60 seconds.",
    http_status=403,
)
# Source: the answer of SQS in https://github.com/Cbsoftware/pressureNET-server/issues/74
OVER_LIMIT = Fault(
    "OverLimit",
    "OverLimit",
    "Too many messages have been received without being deleted. Please delete your received"
    " messages or let them timeout before receiving more.",
    http_status=403,
)
INVALID_ATTRIBUTE_NAME = Fault(
    "InvalidAttributeName", "InvalidAttributeName", "The attribute does not exist."
)
INVALID_ATTRIBUTE_VALUE = Fault(
    "InvalidAttributeValue", "InvalidAttributeValue", "The attribute's value is not allowed."
)
INVALID_MESSAGE_CONTENTS = Fault(
    "InvalidMessageContents",
    "InvalidMessageContents",
    "The message contains characters outside the allowed set.",
)
INVALID_PARAMETER_VALUE = Fault(
    "InvalidParameterValueException", "InvalidParameterValue", "A parameter's value is not allowed."
)
MISSING_PARAMETER = Fault(
    "MissingRequiredParameterException", "MissingParameter", "A required parameter is missing."
)
RECEIPT_HANDLE_IS_INVALID = Fault(
    "ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", "The input receipt handle is invalid."
)
MESSAGE_NOT_INFLIGHT = Fault(
    "MessageNotInflight", _PREFIX + "MessageNotInflight", "The message is not in flight."
)
UNSUPPORTED_OPERATION = Fault(
    "UnsupportedOperation", _PREFIX + "UnsupportedOperation", "The operation is not supported."
)
EMPTY_BATCH_REQUEST = Fault(
    "EmptyBatchRequest",
    _PREFIX + "EmptyBatchRequest",
    "There should be at least one entry in the request.",
)
TOO_MANY_ENTRIES_IN_BATCH_REQUEST = Fault(
    "TooManyEntriesInBatchRequest",
    _PREFIX + "TooManyEntriesInBatchRequest",
    "Maximum number of entries per request are 10.",
)
INVALID_BATCH_ENTRY_ID = Fault(
    "InvalidBatchEntryId",
    _PREFIX + "InvalidBatchEntryId",
    "A batch entry id can only contain alphanumeric characters, hyphens and underscores."
    " It can be at most 80 letters long.",
)
BATCH_ENTRY_IDS_NOT_DISTINCT = Fault(
    "BatchEntryIdsNotDistinct",
    _PREFIX + "BatchEntryIdsNotDistinct",
    "Two entries of the batch have the same id.",
)
BATCH_REQUEST_TOO_LONG = Fault(
    "BatchRequestTooLong",
    _PREFIX + "BatchRequestTooLong",
    "The messages of the batch are longer than 1048576 bytes together.",
)
REQUEST_THROTTLED = Fault(
    "RequestThrottled", "RequestThrottled", "The rate of requests is too high.", http_status=403
)
RESOURCE_NOT_FOUND = Fault(
    "ResourceNotFoundException",
    "ResourceNotFoundException",
    "One or more specified resources do not exist.",
    http_status=404,
)
INVALID_SECURITY = Fault(
    "InvalidSecurity",
    "InvalidSecurity",
    "The request was not made over HTTPS or did not use SigV4 for signing.",
    http_status=403,
)
# The names in `__type` are those of AWS's common front end; the codes are what SQS answers.
MISSING_AUTHENTICATION_TOKEN = Fault(
    "MissingAuthenticationTokenException",
    "MissingAuthenticationToken",
    "Request is missing Authentication Token",
    http_status=403,
)
INCOMPLETE_SIGNATURE = Fault(
    "IncompleteSignatureException",
    "IncompleteSignature",
    "The request signature does not conform to AWS standards.",
)
INVALID_CLIENT_TOKEN_ID = Fault(
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "The security token included in the request is invalid.",
    http_status=403,
)
SIGNATURE_DOES_NOT_MATCH = Fault(
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "The request signature we calculated does not match the signature you provided. Check your AWS"
    " Secret Access Key and signing method. Consult the service documentation for details.",
    http_status=403,
)
REQUEST_EXPIRED = Fault("RequestExpired", "RequestExpired", "The presigned request has expired.")
ACCESS_DENIED = Fault(
    "AccessDeniedException",
    "AccessDenied",
    "You do not have sufficient access to perform this action.",
    http_status=403,
)
INVALID_ADDRESS = Fault("InvalidAddress", "InvalidAddress", "The specified ID is invalid.", 404)
INVALID_ID_FORMAT = Fault(
    "InvalidIdFormat", "InvalidIdFormat", "The specified receipt handle isn't valid."
)
# Nothing here is encrypted, so none of these is ever raised; AWS answers with them and a client of
# ours has to know them.
KMS_ACCESS_DENIED = Fault(
    "KmsAccessDenied", "KMS.AccessDeniedException", "The caller may not use the KMS key."
)
KMS_DISABLED = Fault("KmsDisabled", "KMS.DisabledException", "The KMS key is not enabled.")
KMS_INVALID_KEY_USAGE = Fault(
    "KmsInvalidKeyUsage", "KMS.InvalidKeyUsageException", "The KMS key is not for encryption."
)
KMS_INVALID_STATE = Fault(
    "KmsInvalidState", "KMS.InvalidStateException", "The state of the KMS key does not allow it."
)
KMS_NOT_FOUND = Fault("KmsNotFound", "KMS.NotFoundException", "The KMS key does not exist.")
KMS_OPT_IN_REQUIRED = Fault(
    "KmsOptInRequired", "KMS.OptInRequired", "The account is not subscribed to KMS."
)
KMS_THROTTLED = Fault("KmsThrottled", "KMS.ThrottlingException", "KMS denied the rate of calls.")
INVALID_ACTION = Fault(
    "InvalidAction", "InvalidAction", "The action or operation requested is invalid."
)
UNKNOWN_OPERATION = Fault(
    "UnknownOperationException", "UnknownOperationException", "The operation is not known.", 404
)
# The code is that of the Query protocol for the same. Source: the example "MalformedInput;Sender"
# of a query error header in the code generator of https://github.com/aws/aws-sdk-js-v3
SERIALIZATION_EXCEPTION = Fault(
    "SerializationException", "MalformedInput", "The request's body could not be read."
)
# Source: the answers of SQS in https://github.com/rusoto/rusoto/issues/586
MALFORMED_INPUT = Fault(
    "MalformedInput", "MalformedInput", "The parameters do not have the form of the action's."
)
MALFORMED_QUERY_STRING = Fault(
    "MalformedQueryString", "MalformedQueryString", "The query string contains a syntax error.", 404
)
REQUEST_ENTITY_TOO_LARGE = Fault(
    "RequestEntityTooLarge", "RequestEntityTooLarge", "The request's body is too large.", 413
)
SERVICE_UNAVAILABLE = Fault(
    "ServiceUnavailable",
    "ServiceUnavailable",
    "The request was not carried out because the broker could not make it durable. Send it again.",
    http_status=503,
    sender=False,
)
INTERNAL_FAILURE = Fault(
    "InternalFailure",
    "InternalFailure",
    "The broker met an error of its own. Its log has the details.",
    http_status=500,
    sender=False,
)

#: Every fault by the name in `__type`.
FAULTS: dict[str, Fault] = {
    fault.name: fault for fault in list(globals().values()) if isinstance(fault, Fault)
}


class SqsError(ForebayError):
    """SQS answered with an error.

    The broker raises it to refuse a request and the client raises it when a request was refused, so
    that code under test sees the same exception on both sides.
    """

    def __init__(
        self,
        fault: Fault,
        message: str | None = None,
        *,
        in_batch: SqsError | None = None,
        log_detail: str | None = None,
    ) -> None:
        self.fault = fault
        self.message = message or fault.text
        #: What an entry of a batch is answered with instead; None where that is the same.
        self.in_batch = in_batch
        #: What the broker's log may add for whoever runs it. It never reaches a client.
        self.log_detail = log_detail
        super().__init__(f"{fault.query_code}: {self.message}")

    @property
    def code(self) -> str:
        """The code that SDKs show, for example `AWS.SimpleQueueService.NonExistentQueue`."""
        return self.fault.query_code


def missing_parameter(action: str | None, parameter: str) -> SqsError:
    """The error for a parameter that a request to `action`, or a part of one, lacks."""
    if action in {"CreateQueue", "GetQueueUrl"}:
        return SqsError(
            INVALID_PARAMETER_VALUE,
            f"Value for parameter {parameter} is invalid. Reason: Must specify a queue name.",
        )
    return SqsError(MISSING_PARAMETER, f"The request must contain the parameter {parameter}.")


def fault_from_wire(name: str, query_code: str | None, http_status: int) -> Fault:
    """The fault that an answer names; one made up on the spot when the table does not have it."""
    known = FAULTS.get(name)
    if known is not None:
        return known
    return Fault(name, query_code or name, name, http_status, sender=http_status < 500)
