"""Similarities, fusion, ranking, provenance."""
