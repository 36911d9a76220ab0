"""The join benchmark: traffic, feeder, engines, figures."""
