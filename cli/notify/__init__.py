"""``paritygate notify``: tell people what became of a rollout, by webhook, from a process of its own."""
