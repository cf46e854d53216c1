"""What PostgreSQL makes of our statements when there is much: a million sessions with AUTHSVC_LONG_TESTS=1."""

import os

from sqlalchemy import text

from authsvc.core.clock import DAY
from authsvc.stores.migrations import upgrade_to_head
from authsvc.stores.sql import open_stores
from tests.parts.postgres import Postgres
from tests.parts.records import ABSOLUTE, IDLE, NOW, REFRESH_ABSOLUTE, REFRESH_IDLE
from tests.parts.sql import PATIENT
from tests.stores.test_sql_plans import Spoken, read_whole, spoken, use_everything

__all__ = ["spoken"]

SESSIONS = 1_000_000 if os.environ.get("AUTHSVC_LONG_TESTS") else 100_000
_FILL = f"""
INSERT INTO users (id, username, username_key, password_hash, scopes, created_at, password_changed_at)
SELECT u, u::text, u::text, 'x', '', {NOW}, {NOW}
FROM (SELECT gen_random_uuid() u FROM generate_series(1, {SESSIONS // 10})) _;

INSERT INTO sessions (
  id, user_id, username, client_id, scopes, audiences, amr, created_at, seen_at, expires_at, session_token_hash,
  session_expires_at, session_idle_ms, refresh_generation, refresh_hash, replay_count, refresh_expires_at,
  refresh_idle_ms, refresh_idle_expires_at, ip_address, user_agent, device_label, over_at)
SELECT gen_random_uuid(), id, username, 'web', 'read', 'shop', 'pwd', at, at, at + {REFRESH_ABSOLUTE},
  sha256(('s' || username || n)::bytea), at + {ABSOLUTE}, {IDLE}, 0, sha256(('r' || username || n)::bytea), 0,
  at + {REFRESH_ABSOLUTE}, {REFRESH_IDLE}, at + {REFRESH_IDLE}, '192.0.2.1', 'a browser', '', at + {REFRESH_IDLE}
FROM users, LATERAL (SELECT n, {NOW} - n * {DAY} AS at FROM generate_series(1, 10) n) _;

INSERT INTO second_factors (user_id, last_step, failures, blocked_until) SELECT id, 0, 0, 0 FROM users;

INSERT INTO recovery_codes SELECT id, sha256((username || n)::bytea) FROM users, generate_series(1, 2) n;

INSERT INTO revocations
SELECT row_number() OVER (), 'session', id::text, NULL, expires_at FROM sessions LIMIT {SESSIONS // 5};

INSERT INTO audit_events (
  event, happened_at, actor, user_id, session_id, client_id, ip_address, user_agent, device_label, reason)
SELECT CASE WHEN random() < 0.01 THEN 'token.reused' ELSE 'token.rotated' END, created_at, 'web', user_id::text,
  id::text, 'web', '', '', '', '' FROM sessions LIMIT {SESSIONS // 2};

UPDATE log_state SET revision = {SESSIONS // 5};

ANALYZE;
"""


async def test_hot_paths_on_a_full_database(
    postgres: Postgres, empty_postgres_url: str, spoken: Spoken
) -> None:
    """No statement reads a table from end to end, whatever the planner thinks best, once there is much to read."""
    await upgrade_to_head(empty_postgres_url)
    await postgres.execute(
        *filter(str.strip, _FILL.split(";\n")),
        database=empty_postgres_url.rpartition("?")[0].rpartition("/")[2],
    )
    stores = open_stores(empty_postgres_url, limits=PATIENT)
    [[sessions]] = await stores.database.read(text("SELECT count(*) FROM sessions"))
    spoken.clear()
    await use_everything(stores)
    await stores.close()

    assert sessions == SESSIONS
    assert len(spoken) >= 30
    assert await read_whole(empty_postgres_url, spoken) == []
