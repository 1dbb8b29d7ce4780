-- The booking office. Instants are milliseconds since the Unix epoch, money is
-- in the currency's smallest unit, ids are 32 hex digits unless said otherwise.

-- What the office itself must remember: the hold generation, signing keys.
CREATE TABLE facts (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE accounts (
    id            TEXT PRIMARY KEY,
    email         TEXT NOT NULL UNIQUE,      -- lower case
    name          TEXT NOT NULL,
    password_hash TEXT NOT NULL,             -- PHC string
    role          TEXT NOT NULL CHECK (role IN ('customer', 'counsellor', 'admin')),
    language      TEXT NOT NULL,             -- en, ko, ja, zh or es; of the mails
    created_at    BIGINT NOT NULL
);

-- Access tokens that were signed out before their time.
CREATE TABLE revoked_tokens (
    token_id   TEXT PRIMARY KEY,
    expires_at BIGINT NOT NULL
);
CREATE INDEX revoked_tokens_by_end ON revoked_tokens (expires_at);

CREATE TABLE events (
    id            TEXT PRIMARY KEY,          -- 1 to 64 of a-z, 0-9 and -
    kind          TEXT NOT NULL CHECK (kind IN ('hall', 'admission')),
    series_id     TEXT,
    title         TEXT NOT NULL,
    venue         TEXT NOT NULL,
    starts_at     BIGINT NOT NULL,
    sale_opens_at BIGINT NOT NULL,
    currency      TEXT NOT NULL,
    refund_until  BIGINT,                    -- NULL: as the settings say
    refund_fee_percent BIGINT CHECK (refund_fee_percent BETWEEN 0 AND 100),   -- NULL: as the settings say
    layout        BIGINT NOT NULL,           -- raised when anything here, in sections or in the list of seats changes
    created_at    BIGINT NOT NULL
);
CREATE INDEX events_by_start ON events (kind, starts_at, id);
CREATE INDEX events_by_series ON events (series_id, starts_at, id);

CREATE TABLE sections (
    event_id TEXT NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    id       TEXT NOT NULL,                  -- unique in its event; begins its seats' ids
    position BIGINT NOT NULL,
    name     TEXT NOT NULL,
    kind     TEXT NOT NULL CHECK (kind IN ('seated', 'standing', 'expandable')),
    price    BIGINT NOT NULL CHECK (price >= 0),
    PRIMARY KEY (event_id, id)
);

CREATE TABLE seats (
    event_id     TEXT NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    idx          BIGINT NOT NULL,            -- from 0, in the order of creation
    id           TEXT NOT NULL,              -- SECTION-ROW-NUMBER
    section_id   TEXT NOT NULL,
    row_position BIGINT NOT NULL,            -- rows between it and the stage, in its section
    row_label    TEXT NOT NULL,
    number       BIGINT NOT NULL,
    accessible   BIGINT NOT NULL DEFAULT 0,  -- 1: only for those who ask for it
    status       TEXT NOT NULL DEFAULT 'FREE' CHECK (status IN ('FREE', 'PAYING', 'SOLD')),
    order_id     TEXT,                       -- who pays or paid for it
    epoch        BIGINT NOT NULL DEFAULT 0,  -- of the hold that last took it
    PRIMARY KEY (event_id, idx),
    UNIQUE (event_id, id),
    CHECK ((status = 'FREE') = (order_id IS NULL))
);
CREATE INDEX seats_taken ON seats (event_id, idx) WHERE status <> 'FREE';

CREATE TABLE orders (
    id         TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    event_id   TEXT NOT NULL REFERENCES events (id),
    hold_id    TEXT NOT NULL UNIQUE,         -- one order for a hold, ever
    epoch      BIGINT NOT NULL,
    status     TEXT NOT NULL CHECK (status IN
        ('PENDING', 'PAYING', 'PAID', 'EXPIRED', 'CANCELLED', 'REFUNDED', 'PARTIALLY_REFUNDED')),
    amount     BIGINT NOT NULL CHECK (amount >= 0),
    refunded   BIGINT NOT NULL DEFAULT 0 CHECK (refunded BETWEEN 0 AND amount),
    currency   TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX orders_by_account ON orders (account_id, created_at, id);
CREATE INDEX orders_by_event ON orders (event_id, status);
CREATE INDEX orders_by_epoch ON orders (event_id, epoch);
CREATE INDEX orders_pending ON orders (expires_at) WHERE status = 'PENDING';

CREATE TABLE order_items (
    order_id TEXT NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    seat_idx BIGINT NOT NULL,
    seat_id  TEXT NOT NULL,
    section  TEXT NOT NULL,
    price    BIGINT NOT NULL CHECK (price >= 0),
    refunded BIGINT NOT NULL DEFAULT 0,      -- 1 once its money went back
    fee      BIGINT NOT NULL DEFAULT 0 CHECK (fee BETWEEN 0 AND price),   -- what was kept of it then
    PRIMARY KEY (order_id, seat_idx)
);

CREATE TABLE tickets (
    id         TEXT PRIMARY KEY,
    event_id   TEXT NOT NULL REFERENCES events (id),
    seat_idx   BIGINT NOT NULL,
    seat_id    TEXT NOT NULL,
    order_id   TEXT NOT NULL REFERENCES orders (id),
    account_id TEXT NOT NULL REFERENCES accounts (id),
    status     TEXT NOT NULL CHECK (status IN ('VALID', 'USED', 'VOID')),
    created_at BIGINT NOT NULL,
    used_at    BIGINT
);
-- Has the last word on who owns a seat.
CREATE UNIQUE INDEX tickets_one_live_per_seat ON tickets (event_id, seat_idx) WHERE status <> 'VOID';
CREATE INDEX tickets_by_account ON tickets (account_id, created_at, id);
CREATE INDEX tickets_by_order ON tickets (order_id);

CREATE TABLE payments (
    id          TEXT PRIMARY KEY,
    order_id    TEXT NOT NULL REFERENCES orders (id),
    account_id  TEXT NOT NULL REFERENCES accounts (id),
    method      TEXT NOT NULL CHECK (method IN ('points', 'toss')),
    amount      BIGINT NOT NULL,
    status      TEXT NOT NULL CHECK (status IN ('PENDING', 'COMPLETED', 'FAILED')),
    reason      TEXT,
    lease_until BIGINT NOT NULL DEFAULT 0,
    lease_epoch BIGINT NOT NULL DEFAULT 0,   -- raised by each claim; fences a worker that lost its lease
    told_at     BIGINT,                      -- when the client first saw it completed
    created_at  BIGINT NOT NULL,
    finished_at BIGINT,
    provider_key TEXT UNIQUE,                -- the card provider's name for it
    request_key TEXT,                        -- the Idempotency-Key it was asked for with
    approved    BIGINT,                      -- what the card provider approved
    tries       BIGINT NOT NULL DEFAULT 0,   -- claims so far: above one, money may have been taken
    resting     BIGINT NOT NULL DEFAULT 0,   -- 1 between two looks: nobody has the lease, it only waits for its time
    checked_at  BIGINT                       -- when the provider's books were compared
);
CREATE UNIQUE INDEX payments_one_live_per_order ON payments (order_id) WHERE status <> 'FAILED';
CREATE INDEX payments_pending ON payments (lease_until) WHERE status = 'PENDING';

-- Money that a card provider is to give back.
CREATE TABLE refunds (
    id              TEXT PRIMARY KEY,        -- also the idempotency key towards the provider
    provider_key    TEXT NOT NULL,
    order_id        TEXT NOT NULL,           -- may be one that is not known here
    kind            TEXT NOT NULL CHECK (kind IN ('ORDER', 'UNWANTED')),
    amount          BIGINT CHECK (amount > 0), -- NULL = all that is left
    status          TEXT NOT NULL CHECK (status IN ('PENDING', 'DONE')),
    transaction_key TEXT,
    tries           BIGINT NOT NULL DEFAULT 0,
    lease_until     BIGINT NOT NULL DEFAULT 0,
    lease_epoch     BIGINT NOT NULL DEFAULT 0,
    created_at      BIGINT NOT NULL,
    finished_at     BIGINT
);
-- Money that was never ours goes back once.
CREATE UNIQUE INDEX refunds_one_unwanted ON refunds (provider_key) WHERE kind = 'UNWANTED';
CREATE INDEX refunds_pending ON refunds (lease_until) WHERE status = 'PENDING';
CREATE INDEX refunds_by_payment ON refunds (provider_key);

-- What a card provider told without being asked; nothing in it is believed.
CREATE TABLE webhooks (
    id           TEXT PRIMARY KEY,           -- of the transmission
    provider_key TEXT NOT NULL,
    received_at  BIGINT NOT NULL,
    done_at      BIGINT                      -- when the payment was read again
);
CREATE UNIQUE INDEX webhooks_waiting ON webhooks (provider_key) WHERE done_at IS NULL;
CREATE INDEX webhooks_by_age ON webhooks (received_at);

-- What no rule can settle and a person must look at.
CREATE TABLE stuck (
    id           TEXT PRIMARY KEY,
    provider_key TEXT NOT NULL,
    order_id     TEXT NOT NULL,
    reason       TEXT NOT NULL,
    detail       TEXT NOT NULL,
    since_at     BIGINT NOT NULL,
    ended_at     BIGINT,
    note         TEXT                        -- of the operator who closed it
);
CREATE UNIQUE INDEX stuck_once ON stuck (provider_key, reason) WHERE ended_at IS NULL;

CREATE TABLE wallets (
    account_id TEXT PRIMARY KEY REFERENCES accounts (id),
    balance    BIGINT NOT NULL CHECK (balance >= 0),
    currency   TEXT NOT NULL
);

CREATE TABLE ledger (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES wallets (account_id),
    kind       TEXT NOT NULL CHECK (kind IN ('CHARGE', 'PAYMENT', 'REFUND')),
    amount     BIGINT NOT NULL,              -- signed: what it adds to the balance
    reference  TEXT NOT NULL,                -- what it was for; the same one is booked once
    created_at BIGINT NOT NULL,
    UNIQUE (account_id, kind, reference)
);

-- Domain events, written with the change they tell of and relayed after it.
CREATE TABLE outbox (
    id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind         TEXT NOT NULL,
    subject      TEXT NOT NULL,              -- what it is about: an order, an event
    lane         BIGINT NOT NULL,            -- the subject's; one process at a time relays a lane, in order
    body         TEXT NOT NULL,              -- JSON
    attempts     BIGINT NOT NULL DEFAULT 0,
    retry_at     BIGINT NOT NULL DEFAULT 0,  -- after a failure: not before, and nothing of its subject either
    created_at   BIGINT NOT NULL,
    relayed_at   BIGINT,
    set_aside_at BIGINT                      -- refused too often; its subject goes on without it
);
CREATE INDEX outbox_waiting ON outbox (lane, id) WHERE relayed_at IS NULL AND set_aside_at IS NULL;
CREATE INDEX outbox_late ON outbox (subject) WHERE relayed_at IS NULL AND set_aside_at IS NULL AND attempts > 0;
CREATE INDEX outbox_relayed ON outbox (relayed_at) WHERE relayed_at IS NOT NULL;

-- Who relays which lane.
CREATE TABLE outbox_lanes (
    lane        BIGINT PRIMARY KEY,
    lease_until BIGINT NOT NULL DEFAULT 0,
    lease_epoch BIGINT NOT NULL DEFAULT 0    -- raised by each claim; fences a relay that lost its lease
);
INSERT INTO outbox_lanes (lane) VALUES (0), (1), (2), (3), (4), (5), (6), (7);

-- One mail per order and kind; each refund of a part is told of by one of its own.
CREATE TABLE mails (
    order_id   TEXT NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    kind       TEXT NOT NULL CHECK (kind IN ('completed', 'cancelled', 'refunded')),
    part       BIGINT NOT NULL,              -- 0, or which refund
    body       TEXT NOT NULL,                -- JSON, of the message it tells of
    status     TEXT NOT NULL CHECK (status IN ('WAITING', 'SENT', 'REFUSED')),
    reason     TEXT,
    attempts   BIGINT NOT NULL DEFAULT 0,    -- raised by each claim; fences a mailer that lost its lease
    retry_at   BIGINT NOT NULL,              -- the lease while it is sent, the pause after a failure
    created_at BIGINT NOT NULL,
    sent_at    BIGINT,
    PRIMARY KEY (order_id, kind, part)
);
CREATE INDEX mails_waiting ON mails (retry_at) WHERE status = 'WAITING';

-- Answers to POSTs that carried an Idempotency-Key.
CREATE TABLE idempotency (
    scope       TEXT NOT NULL,               -- the account, or the fingerprint of an anonymous caller's request
    key         TEXT NOT NULL,
    fingerprint TEXT NOT NULL,               -- SHA-256 of method, path and body
    lease_until BIGINT NOT NULL,             -- while nobody has answered
    status      BIGINT,                      -- NULL = under way
    headers     TEXT,
    body        TEXT,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (scope, key)
);
CREATE INDEX idempotency_by_age ON idempotency (created_at);
