"""Shared parts of the training recipes: run from a checkout, never imported by the library."""
