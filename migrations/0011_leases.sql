-- How long a run's lease is: one that ends later from now than that is from before the database's clock was set
-- back (storage/jobs/clock.rs). None where a worker of an older release runs the job.
ALTER TABLE updates ADD COLUMN lease_s double precision;
