"""Calls boto3 as it is told: a line of JSON in, a line of JSON out. Runs in boto3's environment."""

from __future__ import annotations

import json
import sys
import traceback
from base64 import b64decode, b64encode
from typing import Any

import boto3
from botocore.exceptions import ClientError


def decode(value: dict[str, Any]) -> Any:
    return b64decode(value["base64"]) if value.keys() == {"base64"} else value


def encode(value: object) -> dict[str, str]:
    if not isinstance(value, bytes):
        raise TypeError(f"{value!r} is no answer of SQS")
    return {"base64": b64encode(value).decode()}


def main() -> None:
    client: Any = boto3.client("sqs", endpoint_url=sys.argv[1])
    for line in sys.stdin:
        operation, parameters = json.loads(line, object_hook=decode)
        answer: dict[str, Any]
        try:
            answer = {"result": getattr(client, operation)(**parameters)}
        except ClientError as error:
            answer = {
                "refusal": {
                    "code": error.response["Error"]["Code"],
                    "message": error.response["Error"]["Message"],
                    "exception": type(error).__name__,
                    "status": error.response["ResponseMetadata"]["HTTPStatusCode"],
                }
            }
        except Exception:
            answer = {"crash": traceback.format_exc()}
        print(json.dumps(answer, default=encode), flush=True)


if __name__ == "__main__":
    main()
