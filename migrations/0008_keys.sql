-- Keys that open the service. Once there is one, even a revoked one, no request is answered without.
-- A key is 32 random bytes, no word that somebody chose: its plain SHA-256 cannot be guessed back.
CREATE TABLE keys (
    id                  uuid PRIMARY KEY,
    name                text NOT NULL,
    -- The key's first characters, by which people tell keys apart.
    prefix              text NOT NULL UNIQUE,
    digest              bytea NOT NULL UNIQUE,
    scopes              text[] NOT NULL,
    -- The only models that it is good for; null: all.
    models              text[],
    requests_per_minute integer CHECK (requests_per_minute > 0),
    created_at          timestamptz NOT NULL DEFAULT now(),
    expires_at          timestamptz,
    revoked_at          timestamptz,
    -- To about half a minute.
    last_used_at        timestamptz
);
