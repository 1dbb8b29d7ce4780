-- Tries to sign in that are under way or came to nothing, by what they knocked at:
-- an account's door or an address. Swept when they no longer count.
CREATE TABLE sign_in_tries (
    door     TEXT PRIMARY KEY,          -- digest of an account and for whom, or an address
    since    BIGINT NOT NULL,           -- of the first try that counts
    tries    BIGINT NOT NULL
);
CREATE INDEX sign_in_tries_by_age ON sign_in_tries (since);

-- Where an account signed in from with the right password.
CREATE TABLE sign_in_addresses (
    account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    network    TEXT NOT NULL,           -- IPv4 address or IPv6 /64
    seen_at    BIGINT NOT NULL,         -- the last time
    PRIMARY KEY (account_id, network)
);
CREATE INDEX sign_in_addresses_by_age ON sign_in_addresses (seen_at);
