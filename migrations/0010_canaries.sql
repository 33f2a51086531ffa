-- A share of an alias's clients that another version answers, and a version that is asked the same beside it and
-- answers nobody. Both exist as long as the alias names them; checked at the end of a transaction, as a model's
-- versions may go before its aliases.
ALTER TABLE aliases
    ADD COLUMN canary_version integer,
    ADD COLUMN canary_share double precision CHECK (canary_share > 0 AND canary_share <= 1),
    ADD COLUMN shadow integer,
    ADD CHECK ((canary_version IS NULL) = (canary_share IS NULL)),
    ADD FOREIGN KEY (model_id, canary_version) REFERENCES versions DEFERRABLE INITIALLY DEFERRED,
    ADD FOREIGN KEY (model_id, shadow) REFERENCES versions DEFERRABLE INITIALLY DEFERRED;
