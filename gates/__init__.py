"""Is it good enough: gate declarations and the verdicts on them. Pure."""
