-- Times are Unix milliseconds, money is millionths of a currency unit.

-- The jobs of one manifest under one name. spent_micros is what its attempts have cost or hold in reserve.
CREATE TABLE batch (
  id            INTEGER PRIMARY KEY,
  name          TEXT    NOT NULL UNIQUE,
  manifest      TEXT    NOT NULL,
  digest        TEXT    NOT NULL DEFAULT '',
  provider      TEXT    NOT NULL,
  on_doubt      TEXT    NOT NULL CHECK (on_doubt IN ('hold', 'resubmit')),
  timeout_ms    INTEGER,
  limits        TEXT    NOT NULL DEFAULT '{}' CHECK (json_valid(limits)),
  budget_micros INTEGER,
  currency      TEXT,
  spent_micros  INTEGER NOT NULL DEFAULT 0,
  created_at    INTEGER NOT NULL,
  updated_at    INTEGER NOT NULL
) STRICT;

-- What was asked for. Never updated, so that the table that changes stays thin.
CREATE TABLE spec (
  id       INTEGER PRIMARY KEY,
  key      BLOB    NOT NULL UNIQUE,
  batch    INTEGER NOT NULL REFERENCES batch (id),
  name     TEXT    NOT NULL,
  position INTEGER NOT NULL,
  repeat   INTEGER NOT NULL,
  model    TEXT    NOT NULL,
  params   TEXT    NOT NULL,
  output   TEXT    NOT NULL
) STRICT;
CREATE INDEX spec_name ON spec (batch, name);

-- Where each job is. due_at null: a person has to look at it. orphan: it left the manifest.
CREATE TABLE job (
  id         INTEGER PRIMARY KEY REFERENCES spec (id),
  batch      INTEGER NOT NULL,
  provider   TEXT    NOT NULL,
  state      TEXT    NOT NULL CHECK (state IN
    ('queued', 'submitting', 'running', 'ready', 'done', 'in_doubt', 'failed', 'cancelled')),
  cause      TEXT,
  detail     TEXT,
  due_at     INTEGER,
  changed_at INTEGER NOT NULL,
  fence      INTEGER NOT NULL DEFAULT 0,
  attempt    INTEGER NOT NULL DEFAULT 0,
  orphan     INTEGER NOT NULL DEFAULT 0,
  remote     TEXT
) STRICT;
CREATE INDEX job_queued ON job (batch, due_at, id) WHERE state = 'queued' AND orphan = 0;
CREATE INDEX job_open ON job (batch) WHERE state IN ('submitting', 'running', 'ready', 'in_doubt');
CREATE INDEX job_late ON job (batch) WHERE state = 'cancelled' AND due_at IS NOT NULL;

-- One row per time that money was put at stake. billed null: reserved, or nobody can tell; 0: verified as not billed.
CREATE TABLE attempt (
  id           INTEGER PRIMARY KEY,
  job          INTEGER NOT NULL,
  number       INTEGER NOT NULL,
  run          INTEGER,
  provider     TEXT    NOT NULL,
  client_ref   TEXT    NOT NULL,
  digest       TEXT    NOT NULL,
  price_micros INTEGER,
  currency     TEXT,
  intended_at  INTEGER NOT NULL,
  send_by      INTEGER NOT NULL,
  answered_at  INTEGER,
  outcome      TEXT,
  remote_id    TEXT,
  billed       INTEGER,
  UNIQUE (job, number)
) STRICT;
CREATE UNIQUE INDEX attempt_remote ON attempt (provider, remote_id) WHERE remote_id IS NOT NULL;

-- What the provider made of a job, and where it was saved.
CREATE TABLE artifact (
  job          INTEGER NOT NULL,
  number       INTEGER NOT NULL,
  url          TEXT    NOT NULL,
  content_type TEXT,
  size         INTEGER,
  remote_id    TEXT,
  duration     REAL,
  expires_at   INTEGER,
  path         TEXT,
  sha256       TEXT,
  saved_size   INTEGER,
  media_type   TEXT,
  PRIMARY KEY (job, number)
) STRICT, WITHOUT ROWID;

-- The history: one row for each thing learned.
CREATE TABLE event (
  id    INTEGER PRIMARY KEY,
  job   INTEGER NOT NULL,
  at    INTEGER NOT NULL,
  name  TEXT    NOT NULL,
  state TEXT    NOT NULL,
  data  TEXT
) STRICT;
CREATE INDEX event_job ON event (job);

-- What is known of a provider that outlives a run: a hold, the concurrency it took.
CREATE TABLE provider (
  name         TEXT PRIMARY KEY,
  paused_until INTEGER,
  cause        TEXT,
  detail       TEXT,
  in_flight    INTEGER,
  probes       TEXT NOT NULL DEFAULT '[]'
) STRICT;

-- How long each kind of job takes, learned: moments of the logarithm of its seconds.
CREATE TABLE latency (
  name   TEXT PRIMARY KEY,
  weight REAL NOT NULL,
  mean   REAL NOT NULL,
  spread REAL NOT NULL
) STRICT;

CREATE TABLE run (
  id            INTEGER PRIMARY KEY,
  started_at    INTEGER NOT NULL,
  ended_at      INTEGER,
  pid           INTEGER NOT NULL,
  host          TEXT    NOT NULL,
  budget_micros INTEGER,
  currency      TEXT,
  spent_micros  INTEGER NOT NULL DEFAULT 0,
  exit_code     INTEGER
) STRICT;

-- Views for users: their names and columns stay.
CREATE VIEW v_jobs AS
SELECT lower(hex(spec.key)) AS key, batch.name AS batch, spec.name AS id, spec.position, spec.repeat, spec.model,
       job.provider, job.state, job.cause, job.detail, job.attempt AS attempts, job.orphan AS orphaned,
       json_extract(spec.params, '$.prompt') AS prompt, spec.params, json_extract(job.remote, '$.id') AS remote_id,
       job.due_at / 1000.0 AS due_at, job.changed_at / 1000.0 AS changed_at,
       artifact.path, artifact.sha256, artifact.saved_size AS size, artifact.url
FROM job
JOIN spec ON spec.id = job.id
JOIN batch ON batch.id = job.batch
LEFT JOIN artifact ON artifact.job = job.id AND artifact.number = 0;

CREATE VIEW v_attempts AS
SELECT batch.name AS batch, spec.name AS id, attempt.number, attempt.provider, attempt.client_ref, attempt.digest,
       attempt.price_micros / 1e6 AS price, attempt.currency, attempt.intended_at / 1000.0 AS intended_at,
       attempt.answered_at / 1000.0 AS answered_at, attempt.outcome, attempt.remote_id,
       CASE attempt.billed WHEN 1 THEN 'yes' WHEN 0 THEN 'no' ELSE 'unknown' END AS billed
FROM attempt
JOIN spec ON spec.id = attempt.job
JOIN batch ON batch.id = spec.batch;

CREATE VIEW v_history AS
SELECT batch.name AS batch, spec.name AS id, event.at / 1000.0 AS at, event.name AS event, event.state, event.data
FROM event
JOIN spec ON spec.id = event.job
JOIN batch ON batch.id = spec.batch;

CREATE VIEW v_spend AS
SELECT batch.name AS batch, attempt.provider, spec.model, attempt.currency,
       date(attempt.intended_at / 1000, 'unixepoch') AS day, count(*) AS attempts,
       sum(CASE WHEN attempt.billed IS NOT 0 THEN attempt.price_micros ELSE 0 END) / 1e6 AS committed,
       sum(CASE WHEN attempt.billed = 1 THEN attempt.price_micros ELSE 0 END) / 1e6 AS billed
FROM attempt
JOIN spec ON spec.id = attempt.job
JOIN batch ON batch.id = spec.batch
GROUP BY batch.name, attempt.provider, spec.model, attempt.currency, day;
