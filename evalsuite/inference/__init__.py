"""Running a packaged model over every case of a locked test set, and keeping what it said, once and for all."""
