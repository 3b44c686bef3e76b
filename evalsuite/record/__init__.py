"""What happened, written down so that a later change shows: canonical JSON, digests, the hash-chained ledger, seals."""
