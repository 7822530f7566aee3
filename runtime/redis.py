"""Owns how this process connects to Redis: timeouts and pool bounds, the same for state and cache.

What is stored under which key belongs to the modules that store it.
"""

from __future__ import annotations

from pydantic import SecretStr
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

MAX_CONNECTIONS = 32
"""Most connections of one client; a command waits for a free one up to the timeout."""


def connect(url: SecretStr, *, timeout: float = 0.25) -> Redis:
    """A client for ``url`` that answers or fails within about ``timeout`` seconds per step; replies are bytes.

    Connects on first use. Commands are not retried here: whether repeating one is safe is the caller's
    knowledge. Raises ValueError where the URL is not one of Redis (without repeating it: it holds a password).
    """
    try:
        pool = BlockingConnectionPool.from_url(
            url.get_secret_value(),
            max_connections=MAX_CONNECTIONS,
            timeout=timeout,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            socket_keepalive=True,
            health_check_interval=30,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError:
        raise ValueError("not a Redis URL; it must start with redis://, rediss:// or unix://") from None
    return Redis.from_pool(pool)
