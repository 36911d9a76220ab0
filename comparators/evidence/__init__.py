"""Evidence: e-processes that may be looked at any number of times.

Law: each is a function of additive integer counts, so it does not depend on order, batch or partition, and
a decision can be recomputed from the counts it names. Every ``log_e`` is a natural logarithm; ``E >= 1/a``
at any time, at a true limit, has probability at most ``a`` (Ville 1939). The bets are fixed before the data:
a mixture over a grid, never a bet that learns from the order of arrival.
"""
