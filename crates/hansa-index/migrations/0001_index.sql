-- One schema for SQLite and PostgreSQL. For PostgreSQL the type BLOB is replaced by BYTEA before the migration runs.
-- Object numbers have the whole range of 64 bits without sign: they are stored with the highest bit turned, which keeps their order.
CREATE TABLE state (
    id BIGINT PRIMARY KEY,
    genesis BLOB NOT NULL,
    next_height BIGINT NOT NULL
);

CREATE TABLE blocks (
    height BIGINT PRIMARY KEY,
    hash BLOB NOT NULL,
    timestamp BIGINT NOT NULL,
    events BIGINT NOT NULL
);

CREATE TABLE transactions (
    hash BLOB PRIMARY KEY,
    height BIGINT NOT NULL,
    position BIGINT NOT NULL
);

CREATE TABLE members (
    dc_id BIGINT PRIMARY KEY,
    account BLOB,
    network_key BLOB,
    standing BIGINT,
    role BIGINT,
    consensus_endpoint TEXT,
    swarm_endpoint TEXT,
    admitted_height BIGINT,
    changed_height BIGINT NOT NULL
);

CREATE TABLE ballots (
    id BIGINT PRIMARY KEY,
    kind BIGINT NOT NULL,
    opened_by BIGINT NOT NULL,
    subject BIGINT NOT NULL,
    electorate BIGINT NOT NULL,
    deadline BIGINT NOT NULL,
    opened_height BIGINT NOT NULL,
    in_favour BIGINT NOT NULL,
    against BIGINT NOT NULL,
    state BIGINT NOT NULL
);

CREATE TABLE votes (
    ballot BIGINT NOT NULL,
    dc_id BIGINT NOT NULL,
    support BIGINT NOT NULL,
    height BIGINT NOT NULL,
    PRIMARY KEY (ballot, dc_id)
);

CREATE TABLE objects (
    owner BIGINT NOT NULL,
    number BIGINT NOT NULL,
    version BIGINT NOT NULL,
    root BLOB NOT NULL,
    visibility BIGINT NOT NULL,
    changed_visibility BIGINT,
    changed_up_to BIGINT NOT NULL,
    size_class BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    valid_until BIGINT NOT NULL,
    height BIGINT NOT NULL,
    log_index BIGINT NOT NULL,
    PRIMARY KEY (owner, number)
);
CREATE INDEX objects_by_height ON objects (height, log_index);
CREATE INDEX objects_by_owner ON objects (owner, height, log_index);
CREATE INDEX objects_by_visibility ON objects (visibility, height, log_index);

CREATE TABLE versions (
    owner BIGINT NOT NULL,
    number BIGINT NOT NULL,
    version BIGINT NOT NULL,
    root BLOB NOT NULL,
    commitment BLOB NOT NULL,
    visibility BIGINT NOT NULL,
    key_epoch BIGINT NOT NULL,
    size_class BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    valid_until BIGINT NOT NULL,
    height BIGINT NOT NULL,
    PRIMARY KEY (owner, number, version)
);

CREATE TABLE grants (
    owner BIGINT NOT NULL,
    number BIGINT NOT NULL,
    grantee BIGINT NOT NULL,
    in_force BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    max_openings BIGINT NOT NULL,
    openings BIGINT NOT NULL,
    deposited BIGINT NOT NULL,
    height BIGINT NOT NULL,
    PRIMARY KEY (owner, number, grantee)
);
CREATE INDEX grants_by_grantee ON grants (grantee, owner, number);

CREATE TABLE history (
    height BIGINT NOT NULL,
    log_index BIGINT NOT NULL,
    kind BIGINT NOT NULL,
    owner BIGINT NOT NULL,
    number BIGINT NOT NULL,
    version BIGINT NOT NULL,
    member BIGINT NOT NULL,
    code BIGINT NOT NULL,
    opening BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    max_openings BIGINT NOT NULL,
    root BLOB,
    transaction_hash BLOB NOT NULL,
    timestamp BIGINT NOT NULL,
    PRIMARY KEY (height, log_index)
);
CREATE INDEX history_by_object ON history (owner, number, height, log_index);
