"""The review of a rollout as files: one page, the same as Markdown, and a bundle of the regression."""
