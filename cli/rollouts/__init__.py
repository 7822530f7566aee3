"""Owns what `fleet rollout` and `fleet rollback` are made of: editing the files that say what runs, judging, history."""
