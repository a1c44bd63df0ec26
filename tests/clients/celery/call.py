"""Calls tasks: `call.py '[["add", [1], {"countdown": 2}]]'`. Runs in Celery's environment."""

from __future__ import annotations

import json
import sys

from application import app  # type: ignore[import-not-found]

for task, arguments, options in json.loads(sys.argv[1]):
    app.send_task(task, arguments, **options)
