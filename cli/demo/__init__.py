"""The demo: the real stream on a real broker, from two models to a routed decision."""
