"""Dashboard: one page a rollout, and the same as JSON, for people and controllers; it only reads."""
