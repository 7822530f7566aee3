"""The wheels' servers as the fixtures and the embedded target start them."""

from __future__ import annotations

import psycopg
import pytest
import redis


def test_postgres_takes_its_password_and_no_other(postgres: str) -> None:
    url = postgres.replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(url) as connection:
        version = connection.execute("show server_version").fetchone()
        assert version is not None
        assert version[0].startswith("18")
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(url.replace("://postgres:", "://postgres:x"))


def test_each_database_is_fresh_and_can_copy_another(create_database) -> None:  # type: ignore[no-untyped-def]
    first = create_database()
    with psycopg.connect(first.replace("postgresql+psycopg", "postgresql")) as connection:
        connection.execute("create table t (n int)")
    second = create_database(template=first.rsplit("/", 1)[1])
    with psycopg.connect(second.replace("postgresql+psycopg", "postgresql")) as connection:
        assert connection.execute("select count(*) from t").fetchone() == (0,)


@pytest.mark.parametrize("round_number", [1, 2])
def test_valkey_is_empty_for_each_test(redis_url: str, redis_cache_url: str, round_number: int) -> None:
    with redis.Redis.from_url(redis_url) as state, redis.Redis.from_url(redis_cache_url) as cache:
        assert state.dbsize() == 0
        state.set("a", round_number)
        assert cache.get("a") is None
        assert state.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert cache.config_get("maxmemory-policy") == {"maxmemory-policy": "allkeys-lru"}


def test_valkey_refuses_a_caller_without_password(redis_url: str) -> None:
    port = redis_url.rsplit(":", 1)[1].split("/")[0]
    with redis.Redis(port=int(port)) as client, pytest.raises(redis.exceptions.AuthenticationError):
        client.ping()
