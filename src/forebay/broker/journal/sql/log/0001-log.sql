CREATE TABLE log (
    number INTEGER PRIMARY KEY,
    changes BLOB NOT NULL -- MessagePack
) STRICT;
