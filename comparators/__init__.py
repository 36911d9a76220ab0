"""What happened and how far apart: pairing, windows, segments, validation, evidence. Pure."""
