"""`forebay`, but little stays in the commit log, and little of a queue in memory.

So what is rare otherwise happens all the time: the log is stored in the tables, and pages are read.
"""

from forebay.broker.broker import Broker
from forebay.broker.core.window import Window
from forebay.broker.journal import sqlite
from forebay.cli.main import main

sqlite.FOLD_BYTES = 10_000
assert Broker.__init__.__kwdefaults__ is not None
Broker.__init__.__kwdefaults__["window"] = Window(messages=60, page_messages=20)

if __name__ == "__main__":
    main()
