-- Support: who answers, who waits, what was said.

-- Locked by whoever changes who answers whom: one change at a time, so that
-- nobody is overlooked and no two rows are locked in two orders.
CREATE TABLE support_turn (
    id BIGINT PRIMARY KEY
);
INSERT INTO support_turn (id) VALUES (0);

CREATE TABLE counsellors (
    account_id TEXT PRIMARY KEY REFERENCES accounts (id),
    state      TEXT NOT NULL CHECK (state IN ('OFFLINE', 'ONLINE', 'READY', 'BUSY', 'AFTER_CALL')),
    since_at   BIGINT NOT NULL,              -- of the state
    seen_at    BIGINT NOT NULL               -- last sign of life
);
CREATE INDEX counsellors_at_work ON counsellors (since_at) WHERE state <> 'OFFLINE';

CREATE TABLE support_requests (
    id         TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    topic      TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('QUEUED', 'MATCHED', 'ENDED')),
    created_at BIGINT NOT NULL,
    seen_at    BIGINT NOT NULL               -- last sign of life
);
CREATE UNIQUE INDEX support_requests_one_live ON support_requests (account_id) WHERE state <> 'ENDED';
CREATE INDEX support_requests_queued ON support_requests (created_at, id) WHERE state = 'QUEUED';

CREATE TABLE support_sessions (
    id              TEXT PRIMARY KEY,
    request_id      TEXT NOT NULL REFERENCES support_requests (id),
    customer        TEXT NOT NULL REFERENCES accounts (id),
    counsellor      TEXT REFERENCES accounts (id),
    state           TEXT NOT NULL CHECK (state IN ('WAITING', 'OFFERED', 'ACTIVE', 'ENDED')),
    created_at      BIGINT NOT NULL,
    offered_at      BIGINT NOT NULL,         -- the last time
    accepted_at     BIGINT,
    ended_at        BIGINT,
    ended_by        TEXT CHECK (ended_by IN ('customer', 'counsellor', 'system')),
    summary         TEXT,                    -- the counsellor's
    last_message    BIGINT NOT NULL DEFAULT 0,
    customer_read   BIGINT NOT NULL DEFAULT 0,
    counsellor_read BIGINT NOT NULL DEFAULT 0,
    CHECK (counsellor IS NOT NULL OR state IN ('WAITING', 'ENDED'))
);
-- Have the last word on who answers whom.
CREATE UNIQUE INDEX support_sessions_one_per_counsellor ON support_sessions (counsellor)
    WHERE state IN ('OFFERED', 'ACTIVE');
CREATE UNIQUE INDEX support_sessions_one_per_request ON support_sessions (request_id) WHERE state <> 'ENDED';
CREATE INDEX support_sessions_by_day ON support_sessions (counsellor, ended_at);

CREATE TABLE support_messages (
    session_id TEXT NOT NULL REFERENCES support_sessions (id),
    id         BIGINT NOT NULL,              -- from 1 in its session, without gaps
    sender     TEXT NOT NULL CHECK (sender IN ('customer', 'counsellor')),
    text       TEXT NOT NULL,
    sent_at    BIGINT NOT NULL,
    PRIMARY KEY (session_id, id)
);
