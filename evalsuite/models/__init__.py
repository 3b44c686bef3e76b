"""Packaged models behind one interface: the contract, one file per package format, pre- and post-processing."""
