"""Where next: plan, ladder, state and the one place that decides. Pure."""
