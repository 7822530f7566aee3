"""PostgreSQL: tables, their migrations, and the statements over them. Knows nothing of HTTP or Redis."""
