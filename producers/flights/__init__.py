"""The demo's data and models: real flights of 2013 and two classifiers that foretell late arrivals.

The only place of this room that may import numpy, pandas and scikit-learn (the extra ``demo``).
"""
