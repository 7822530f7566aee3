"""The API gateway's configuration: pure functions from settings and routes to nginx's files."""
