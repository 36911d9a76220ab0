"""The Faust worker: carries data through the pure rooms and holds their state."""
