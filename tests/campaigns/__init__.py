"""Slow campaigns: what an attacker, a power failure or a second operator may do to a study, thousands of times."""
