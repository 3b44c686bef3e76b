"""The study protocol: what was decided before anyone looked, read, checked, frozen."""
