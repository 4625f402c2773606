"""The first schema: jobs, attempts, the audit, inputs, models and workers.

Constraints and triggers state what Python promises, so that no program and no person at a
SQL prompt can store nonsense: legal moves only, a lease only while running, a result only on
success, an announced result never changed, every move audited.
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE model (
    name text NOT NULL,
    profile_group text NOT NULL,
    revision text NOT NULL,
    profiles text[] NOT NULL,
    registered_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (name, profile_group, revision)
);

CREATE TABLE worker (
    id uuid PRIMARY KEY,
    holder text NOT NULL,
    card text NOT NULL,
    queue text NOT NULL,
    model text NOT NULL,
    profile_group text NOT NULL,
    revision text NOT NULL,
    release text,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now(),
    left_at timestamptz,
    FOREIGN KEY (model, profile_group, revision) REFERENCES model
);

CREATE TABLE input (
    tenant text NOT NULL,
    sha256 text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    bytes bigint NOT NULL CHECK (bytes > 0),
    media_type text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    used_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, sha256)
);

CREATE TABLE job (
    id uuid PRIMARY KEY,
    tenant text NOT NULL,
    state text NOT NULL DEFAULT 'queued'
        CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    queue text NOT NULL,
    priority smallint NOT NULL,
    batch text,
    model text NOT NULL,
    profile text NOT NULL,
    instruction text NOT NULL,
    pictures text[] NOT NULL CHECK (cardinality(pictures) BETWEEN 1 AND 3),
    seed bigint NOT NULL CHECK (seed >= 0),
    parameters jsonb NOT NULL,
    metadata jsonb NOT NULL DEFAULT '{}',
    idempotency_key text NOT NULL,
    key_derived boolean NOT NULL,
    fingerprint text NOT NULL,
    superseded boolean NOT NULL DEFAULT false,
    replay_of uuid,
    attempt integer NOT NULL DEFAULT 0,
    failures integer NOT NULL DEFAULT 0,
    max_failures integer NOT NULL CHECK (max_failures > 0),
    steps_done integer NOT NULL DEFAULT 0,
    steps_total integer NOT NULL DEFAULT 0,
    worker_id uuid,
    holder text,
    release text,
    lease_expires_at timestamptz,
    attempt_started_at timestamptz,
    timings jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    dispatched_at timestamptz,
    not_before timestamptz,
    start_by timestamptz,
    run_limit interval,
    keep_for interval,
    started_at timestamptz,
    cancel_requested_at timestamptz,
    finished_at timestamptz,
    expires_at timestamptz,
    result jsonb,
    result_deleted_at timestamptz,
    failure_class text
        CHECK (failure_class IN ('permanent', 'transient', 'resource', 'worker-fatal', 'lost')),
    error_code text,
    error text,
    moved_by text NOT NULL,
    moved_why text NOT NULL,
    CONSTRAINT leased_only_while_running
        CHECK ((state = 'running') = (lease_expires_at IS NOT NULL)),
    CONSTRAINT held_only_while_running CHECK ((state = 'running') = (holder IS NOT NULL)),
    CONSTRAINT finished_when_final
        CHECK ((state IN ('succeeded', 'failed', 'cancelled')) = (finished_at IS NOT NULL)),
    CONSTRAINT result_only_on_success CHECK ((state = 'succeeded') = (result IS NOT NULL)),
    CONSTRAINT failed_for_a_reason CHECK (state <> 'failed' OR failure_class IS NOT NULL),
    CONSTRAINT running_is_an_attempt CHECK (state <> 'running' OR attempt > 0),
    CONSTRAINT failures_within_attempts CHECK (failures BETWEEN 0 AND attempt),
    CONSTRAINT queued_within_budget CHECK (state <> 'queued' OR failures < max_failures)
) WITH (fillfactor = 80);

CREATE TABLE attempt (
    job_id uuid NOT NULL REFERENCES job ON DELETE CASCADE,
    number integer NOT NULL CHECK (number > 0),
    worker_id uuid,
    holder text NOT NULL,
    card text,
    model_revision text,
    release text,
    started_at timestamptz NOT NULL,
    ended_at timestamptz,
    outcome text,
    failure_class text,
    error_code text,
    error text,
    timings jsonb,
    PRIMARY KEY (job_id, number)
);

CREATE TABLE move (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id uuid NOT NULL REFERENCES job ON DELETE CASCADE,
    at timestamptz NOT NULL DEFAULT now(),
    who text NOT NULL,
    from_state text,
    to_state text NOT NULL,
    attempt integer NOT NULL,
    why text NOT NULL
);
"""

#: No index holds a column that a renewal writes, so that renewals stay inside their page.
INDEXES = """
CREATE UNIQUE INDEX job_one_per_key ON job (tenant, idempotency_key) WHERE NOT superseded;
CREATE INDEX job_next ON job (queue, priority, tenant, id) WHERE state = 'queued';
CREATE INDEX job_standing ON job (queue) WHERE state = 'queued' AND dispatched_at IS NOT NULL;
CREATE INDEX job_running ON job (queue, tenant) WHERE state = 'running';
CREATE INDEX job_start_by ON job (start_by) WHERE state = 'queued' AND start_by IS NOT NULL;
CREATE INDEX job_by_tenant ON job (tenant, id);
CREATE INDEX job_by_batch ON job (batch, id) WHERE batch IS NOT NULL;
CREATE INDEX job_failed ON job (tenant, id) WHERE state = 'failed';
CREATE INDEX move_by_job ON move (job_id, id);
CREATE INDEX worker_alive ON worker (queue) WHERE left_at IS NULL;
"""

FUNCTIONS = """
CREATE FUNCTION job_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state <> NEW.state AND (OLD.state, NEW.state) NOT IN (
        ('queued', 'running'), ('queued', 'failed'), ('queued', 'cancelled'),
        ('running', 'succeeded'), ('running', 'failed'),
        ('running', 'queued'), ('running', 'cancelled')
    ) THEN
        RAISE EXCEPTION 'job %: no move from % to %', OLD.id, OLD.state, NEW.state
            USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.attempt < OLD.attempt THEN
        RAISE EXCEPTION 'job %: attempt % after %', OLD.id, NEW.attempt, OLD.attempt
            USING ERRCODE = 'check_violation';
    END IF;
    IF OLD.state IN ('succeeded', 'failed', 'cancelled')
        AND (NEW.result IS DISTINCT FROM OLD.result OR NEW.attempt <> OLD.attempt)
    THEN
        RAISE EXCEPTION 'job %: what was announced never changes', OLD.id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION job_submitted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO move (job_id, who, to_state, attempt, why)
        SELECT id, moved_by, state, attempt, moved_why FROM fresh;
    RETURN NULL;
END $$;

CREATE FUNCTION job_moved() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO move (job_id, who, from_state, to_state, attempt, why)
        VALUES (NEW.id, NEW.moved_by, OLD.state, NEW.state, NEW.attempt, NEW.moved_why);
    IF OLD.state = 'running' THEN
        UPDATE attempt
           SET ended_at = now(), outcome = NEW.state, timings = NEW.timings,
               failure_class = NEW.failure_class, error_code = NEW.error_code, error = NEW.error
         WHERE job_id = OLD.id AND number = OLD.attempt;
    END IF;
    IF NEW.state = 'running' THEN
        INSERT INTO attempt
            (job_id, number, worker_id, holder, card, model_revision, release, started_at)
            SELECT NEW.id, NEW.attempt, NEW.worker_id, NEW.holder, worker.card,
                   worker.revision, NEW.release, now()
              FROM (SELECT 1) AS one LEFT JOIN worker ON worker.id = NEW.worker_id;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION move_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit is append-only' USING ERRCODE = 'check_violation';
END $$;

CREATE TRIGGER job_guard BEFORE UPDATE ON job
    FOR EACH ROW EXECUTE FUNCTION job_guard();
CREATE TRIGGER job_submitted AFTER INSERT ON job
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION job_submitted();
CREATE TRIGGER job_moved AFTER UPDATE OF state ON job
    FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION job_moved();
CREATE TRIGGER move_is_append_only BEFORE UPDATE ON move
    FOR EACH ROW EXECUTE FUNCTION move_is_append_only();
"""


def upgrade() -> None:
    for statements in (TABLES, INDEXES, FUNCTIONS):
        op.execute(statements)


def downgrade() -> None:
    """A ledger is never unmade; restore a backup instead."""
    raise NotImplementedError("the first schema has nothing below it")
