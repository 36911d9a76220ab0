"""What `benchmarks/calibration.py` is made of: streams of healthy and sick traffic, the gates, and their peers."""
